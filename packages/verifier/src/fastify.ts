import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Verified } from './claims.ts'
import { VerifierError } from './errors.ts'
import { readScopes, type VerifyOptions } from './options.ts'
import type { Verifier } from './verifier.ts'

declare module 'fastify' {
  interface FastifyInstance {
    keyturn: Verifier
    /** A hook that sets `request.auth`, or answers 401, 403 or 503. Throws TypeError for invalid options. */
    authenticate(options?: VerifyOptions): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
  }
  interface FastifyRequest {
    /** Set by the hook of `app.authenticate()`; undefined in routes without it. */
    auth: Verified
  }
}

/** Fastify plugin: `app.authenticate()` makes a hook for `onRequest`. The verifier is closed with the application. */
async function keyturn(app: FastifyInstance, { verifier }: { readonly verifier: Verifier }): Promise<void> {
  app.decorate('keyturn', verifier)
  app.decorateRequest('auth')
  app.decorate('authenticate', (options?: VerifyOptions) => {
    readScopes(options)
    return async (request: FastifyRequest, reply: FastifyReply) => {
      try {
        request.auth = await verifier.verifyRequest(request, options)
      } catch (error) {
        if (!(error instanceof VerifierError)) throw error
        return reply.code(error.status).headers(error.headers).send(error.toJSON())
      }
    }
  })
  app.addHook('onClose', () => verifier.close())
}

/** What fastify-plugin does: the decorators are for the application that registers it, not for an encapsulated one. */
export default Object.assign(keyturn, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: '@keyturn/verifier'
})

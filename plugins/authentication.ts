import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Caller } from '../src/flows/caller.ts'
import { valuesOf } from '../src/header-fields.ts'
import { readBearer } from '../src/tokens/bearer.ts'

/**
 * `onRequest: app.authenticate` requires a valid access token and sets `request.caller`. The header is parsed as in Simple JWT:
 * the scheme is case-sensitive, and another scheme counts as no credentials.
 */
async function authentication(app: FastifyInstance, { types }: { readonly types: readonly string[] }): Promise<void> {
  app.decorateRequest('caller')
  app.decorate('authenticate', async function authenticate(request) {
    const fields = valuesOf(request.raw, 'authorization')
    request.caller = await app.flows.authenticate(readBearer(fields, types, { anyCase: false }))
    request.outcome = {
      user_id: request.caller.userId,
      ...(request.caller.sid === undefined ? {} : { sid: request.caller.sid })
    }
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    authenticate(request: FastifyRequest): Promise<void>
  }
  interface FastifyRequest {
    /** Set only in routes that authenticate. */
    caller: Caller
  }
}

export default fp(authentication, { name: 'authentication', dependencies: ['flows'] })

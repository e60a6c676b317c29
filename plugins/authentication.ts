import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Caller } from '../src/flows/caller.ts'
import { readBearer } from '../src/tokens/bearer.ts'

/**
 * `onRequest: app.authenticate` lets in whoever bears a good access token, as `request.caller`. The header is read as Simple
 * JWT reads it: the type is case-sensitive, another type is no credentials at all.
 */
async function authentication(app: FastifyInstance, { types }: { readonly types: readonly string[] }): Promise<void> {
  app.decorateRequest('caller')
  app.decorate('authenticate', async function authenticate(request) {
    request.caller = await app.flows.authenticate(readBearer(request.headers.authorization, types, { anyCase: false }))
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
    /** Only in routes that authenticate. */
    caller: Caller
  }
}

export default fp(authentication, { name: 'authentication', dependencies: ['flows'] })

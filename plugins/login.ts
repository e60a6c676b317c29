import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { LoginDevice } from '../src/flows/login.ts'
import { valuesOf } from '../src/header-fields.ts'
import { describeDevice } from '../src/sessions/session.ts'
import { readBearer } from '../src/tokens/bearer.ts'

/** `app.describeLogin(request, reply)`: what a request with a password reveals about its sender. */
async function login(app: FastifyInstance, { types }: { readonly types: readonly string[] }): Promise<void> {
  /** A login needs no Authorization header, so a malformed one is ignored. */
  const findBearer = ({ raw }: FastifyRequest): string | undefined => {
    try {
      return readBearer(valuesOf(raw, 'authorization'), types, { anyCase: false })
    } catch {
      return undefined
    }
  }
  app.decorate('describeLogin', (request, reply) => ({
    ...describeDevice(request),
    token: findBearer(request) ?? app.flows.newestFirst(app.refreshCookie.find(request))[0],
    signal: untilGone(reply)
  }))
}

/**
 * Aborted when the client closes the connection before the response. Fastify's request.signal cannot be used: it
 * listens to the request, which Node closes as soon as its body has been read (fastify 5.12.8, Node 20).
 */
function untilGone({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  if (raw.destroyed) gone.abort()
  raw.once('close', () => {
    if (!raw.writableEnded) gone.abort()
  })
  return gone.signal
}

declare module 'fastify' {
  interface FastifyInstance {
    describeLogin(request: FastifyRequest, reply: FastifyReply): LoginDevice
  }
}

export default fp(login, { name: 'login', dependencies: ['cookie', 'flows'] })

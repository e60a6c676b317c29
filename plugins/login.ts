import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { LoginClient } from '../src/flows/login.ts'
import { describeClient } from '../src/sessions/session.ts'
import { readBearer } from '../src/tokens/bearer.ts'

/** `app.describeLogin(request)`: who wants to log in, by what the request says beside the credentials. */
async function login(app: FastifyInstance, { types }: { readonly types: readonly string[] }): Promise<void> {
  /** A login needs no header, so one that cannot be read is none. */
  const findBearer = ({ headers: { authorization } }: FastifyRequest): string | undefined => {
    try {
      return readBearer(authorization, types, { anyCase: false })
    } catch {
      return undefined
    }
  }
  app.decorate('describeLogin', (request) => ({
    ...describeClient(request.ip, request.headers['user-agent']),
    token: findBearer(request) ?? app.refreshCookie.find(request)
  }))
}

declare module 'fastify' {
  interface FastifyInstance {
    describeLogin(request: FastifyRequest): LoginClient
  }
}

export default fp(login, { name: 'login', dependencies: ['cookie'] })

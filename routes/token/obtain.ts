import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { anAccessToken, aRefreshToken, CredentialsBody } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

const Pair = {
  title: 'Pair',
  description: 'An access and a refresh token',
  type: 'object',
  required: ['refresh', 'access'],
  properties: { refresh: { type: 'string' }, access: { type: 'string' } },
  examples: [{ refresh: aRefreshToken, access: anAccessToken }]
}
/** In cookie mode the refresh token is not in the body. */
const AccessOnly = {
  description: 'An access token; the refresh token is in the cookie',
  type: 'object',
  required: ['access'],
  properties: { access: { type: 'string' } },
  examples: [{ access: anAccessToken }]
}

/** POST /api/token/: logs in with username and password. As Simple JWT's TokenObtainPairView. */
const obtain: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Obtain Pair',
    description: 'Logs in with username and password, and returns an access and a refresh token.',
    body: CredentialsBody,
    response: {
      200: app.refreshCookie.enabled ? AccessOnly : Pair,
      ...refusals(missing('username'), ...bodyRefusals, 'LOGIN_FAILED', 403, 429, 'BUSY', 'STORE_DOWN')
    }
  }
  app.post(
    '/api/token',
    {
      schema,
      config: { event: 'login', rateLimit: app.rateLimits.obtain, isForConsole: true },
      onRequest: [app.refuseIfFull, app.refreshCookie.guard]
    },
    async (request, reply) => {
      const { outcome, ...pair } = await app.flows.obtain(request.body, app.describeLogin(request, reply))
      request.outcome = outcome
      reply.header('cache-control', 'no-store')
      return app.refreshCookie.handOver(reply, pair)
    }
  )
}
export default obtain

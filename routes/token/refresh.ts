import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { anAccessToken, aRefreshToken, refreshBody } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** The refresh token is absent in cookie mode and without rotation. */
const Pair = {
  title: 'NextPair',
  description: 'A new access token, and the refresh token to use from now on',
  type: 'object',
  required: ['access'],
  properties: { access: { type: 'string' }, refresh: { type: 'string' } },
  examples: [{ access: anAccessToken, refresh: aRefreshToken }]
}

/** POST /api/token/refresh/: exchanges a refresh token for an access token and its successor. As Simple JWT's TokenRefreshView. */
const refresh: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Refresh',
    description: 'Exchanges a refresh token for an access token and, with rotation, the next refresh token.',
    body: refreshBody(app.refreshCookie.enabled),
    response: { 200: Pair, ...refusals(missing('refresh'), ...bodyRefusals, 401, 'USER_GONE', 403, 429, 503) }
  }
  app.post(
    '/api/token/refresh',
    {
      schema,
      config: { event: 'refresh', rateLimit: app.rateLimits.refresh, isForConsole: true },
      onRequest: app.refreshCookie.guard
    },
    async (request, reply) => {
      const { refresh: given } = request.body
      const tokens = given === undefined ? app.flows.newestFirst(app.refreshCookie.demand(request)) : [given]
      const device = describeDevice(request)
      const {
        outcome,
        expiresIn: _,
        ...pair
      } = await app.flows.tryEach(tokens, (token) => app.flows.refresh(token, device))
      request.outcome = outcome
      reply.header('cache-control', 'no-store')
      return app.refreshCookie.handOver(reply, pair)
    }
  )
}
export default refresh

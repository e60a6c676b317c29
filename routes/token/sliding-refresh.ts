import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { SlidingBody, Token } from '../schemas/bodies.ts'
import { bodyRefusals, refusals } from '../schemas/errors.ts'

/** POST /api/token/sliding/refresh/: extends a sliding token. As Simple JWT's TokenRefreshSlidingView. */
const refreshSliding: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Refresh Sliding',
    description: 'Exchanges a sliding token for one that expires later, until its refresh lifetime ends.',
    body: SlidingBody,
    response: { 200: Token, ...refusals(400, ...bodyRefusals, 401, 'USER_GONE', 429, 503) }
  }
  app.post(
    '/api/token/sliding/refresh',
    { schema, config: { event: 'refresh', rateLimit: app.rateLimits.refresh } },
    async (request, reply) => {
      const device = describeDevice(request)
      const { outcome, token } = await app.flows.refreshSliding(request.body.token, device)
      request.outcome = outcome
      reply.header('cache-control', 'no-store')
      return { token }
    }
  )
}
export default refreshSliding

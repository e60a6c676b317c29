import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { Empty, TokenBody } from '../schemas/bodies.ts'
import { bodyRefusals, refusals } from '../schemas/errors.ts'

/** POST /api/token/verify/: verifies a token. As Simple JWT's TokenVerifyView. */
const verify: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Verify',
    description: 'Verifies a token of any type. The response does not reveal the type.',
    body: TokenBody,
    response: { 200: Empty, ...refusals(400, ...bodyRefusals, 401, 429, 503) }
  }
  app.post(
    '/api/token/verify',
    { schema, config: { event: 'verify', rateLimit: app.rateLimits.verify } },
    async (request) => {
      const { user_id, sid } = (await app.flows.verify(request.body.token)).claims
      request.outcome = { user_id, sid }
      return {}
    }
  )
}
export default verify

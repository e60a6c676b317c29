import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { CredentialsBody, Token } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** POST /api/token/sliding/: logs in with username and password. As Simple JWT's TokenObtainSlidingView. */
const sliding: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Obtain Sliding',
    description: 'Logs in with username and password, and returns a sliding token.',
    body: CredentialsBody,
    response: {
      200: Token,
      ...refusals(missing('username'), ...bodyRefusals, 'LOGIN_FAILED', 429, 'BUSY', 'STORE_DOWN')
    }
  }
  app.post(
    '/api/token/sliding',
    { schema, config: { event: 'login', rateLimit: app.rateLimits.obtain }, onRequest: app.refuseIfFull },
    async (request, reply) => {
      const { outcome, token } = await app.flows.obtainSliding(request.body, app.describeLogin(request, reply))
      request.outcome = outcome
      reply.header('cache-control', 'no-store')
      return { token }
    }
  )
}
export default sliding

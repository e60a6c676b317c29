import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Introspection, TokenBody } from '../schemas/bodies.ts'
import { oauthRefusals } from '../schemas/errors.ts'

/** POST /oauth/introspect: what there is to say of a token, to a client that met it (RFC 7662). */
const introspect: FastifyPluginAsyncTypebox = async (app) => {
  const schema = {
    tags: ['oauth'],
    summary: 'OAuth Introspect',
    description:
      'Takes a token of any type and returns its claims, or {"active":false}. token_type_hint is not needed.',
    body: TokenBody,
    response: { 200: Introspection, ...oauthRefusals(400, 401, 415, 429, 503) }
  }
  const config = { event: 'introspect' as const, rateLimit: app.rateLimits.introspect }
  app.post('/oauth/introspect', { schema, config, preValidation: app.authenticateClient }, async (request) => {
    const { body, outcome } = await app.flows.introspect(request.body.token)
    request.outcome = { ...request.outcome, ...outcome }
    return body
  })
}
export default introspect

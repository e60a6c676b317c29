import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { aSessionId, Introspection } from '../schemas/bodies.ts'
import { byClient, ClientTokenBody, form } from '../schemas/client.ts'
import { bodyRefusals, oauthRefusals } from '../schemas/errors.ts'

const anAnswer = {
  active: true,
  token_type: 'Bearer',
  token_use: 'access',
  exp: 1795320298,
  iat: 1795319998,
  jti: '9f0c2b1e0d6f4f0f8c6f5a7b3d1e2c4a',
  user_id: '49f6c732-1f6b-4a53-9d0a-7b0a5d0f3c11',
  sid: aSessionId,
  sub: '49f6c732-1f6b-4a53-9d0a-7b0a5d0f3c11',
  username: 'vitor'
}

/** POST /oauth/introspect: the state and the claims of a token, for clients (RFC 7662). */
const introspect: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['oauth'],
    summary: 'OAuth Introspect',
    description: 'Returns the claims of a token of any type, or {"active":false}. token_type_hint is not needed.',
    consumes: [form],
    security: byClient,
    body: ClientTokenBody,
    response: {
      200: { ...Introspection, examples: [anAnswer] },
      ...oauthRefusals(400, ...bodyRefusals, 'OAUTH_REQUEST', 'CLIENT_INVALID', 429, 503)
    }
  }
  const config = { event: 'introspect' as const, rateLimit: app.rateLimits.introspect }
  app.post('/oauth/introspect', { schema, config, preValidation: app.authenticateClient }, async (request) => {
    const { body, outcome } = await app.flows.introspect(request.body.token)
    request.outcome = { client_id: request.client.id, ...outcome }
    return body
  })
}
export default introspect

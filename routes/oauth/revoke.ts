import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { Empty } from '../schemas/bodies.ts'
import { byClient, ClientTokenBody, form } from '../schemas/client.ts'
import { bodyRefusals, oauthRefusals } from '../schemas/errors.ts'

/**
 * POST /oauth/revoke: revokes a token (RFC 7009). 200 also for an invalid token (§2.2).
 */
const revoke: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['oauth'],
    summary: 'OAuth Revoke',
    description: 'Ends the session of a refresh or sliding token, or revokes a single access token.',
    consumes: [form],
    security: byClient,
    body: ClientTokenBody,
    response: {
      200: Empty,
      ...oauthRefusals(
        400,
        ...bodyRefusals,
        'OAUTH_REQUEST',
        'CLIENT_OTHER',
        'REVOCATION_UNSUPPORTED',
        'CLIENT_INVALID',
        429,
        503
      )
    }
  }
  const config = { event: 'revoke' as const }
  app.post('/oauth/revoke', { schema, config, preValidation: app.authenticateClient }, async (request) => {
    const outcome = await app.flows.revoke(request.client, request.body.token, describeDevice(request))
    request.outcome = { ...request.outcome, ...outcome }
    return {}
  })
}
export default revoke

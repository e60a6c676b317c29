import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { Empty } from '../schemas/bodies.ts'
import { byClient, ClientTokenBody, form } from '../schemas/client.ts'
import { bodyRefusals, oauthRefusals } from '../schemas/errors.ts'

/**
 * POST /oauth/revoke: ends what a token is good for (RFC 7009). 200 also for a token that is good for nothing (§2.2).
 */
const revoke: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['oauth'],
    summary: 'OAuth Revoke',
    description: 'Takes a refresh or a sliding token and ends its session, or an access token and revokes it alone.',
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

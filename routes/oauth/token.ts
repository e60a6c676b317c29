import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { KeyturnError } from '../../src/errors.ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { anAccessToken, aRefreshToken } from '../schemas/bodies.ts'
import { byClient, clientParameters, form } from '../schemas/client.ts'
import { bodyRefusals, missing, oauthRefusals } from '../schemas/errors.ts'

const TokenRequest = {
  type: 'object',
  required: ['grant_type'],
  properties: {
    grant_type: { type: 'string', description: 'refresh_token or client_credentials' },
    refresh_token: { type: 'string', description: 'With refresh_token: the refresh token of a user' },
    scope: { type: 'string', description: 'With client_credentials: requested scopes, separated by spaces' },
    ...clientParameters
  },
  examples: [{ grant_type: 'client_credentials' }, { grant_type: 'refresh_token', refresh_token: aRefreshToken }]
} as const

const TokenAnswer = {
  description: 'An access token; with refresh_token also the next refresh token',
  type: 'object',
  required: ['access_token', 'token_type', 'expires_in'],
  properties: {
    access_token: { type: 'string' },
    token_type: { type: 'string', const: 'Bearer' },
    expires_in: { type: 'integer', description: 'Lifetime of the access token, in seconds' },
    refresh_token: { type: 'string' },
    scope: { type: 'string' }
  },
  examples: [{ access_token: anAccessToken, token_type: 'Bearer', expires_in: 300, scope: 'orders.read' }]
}

/** POST /oauth/token: the next tokens of a user's session, or an access token for the client itself (RFC 6749 §4.4, §6). */
const token: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['oauth'],
    summary: 'OAuth Token',
    description: 'Issues an access token for a refresh token or for the client’s own credentials.',
    consumes: [form],
    security: byClient,
    body: TokenRequest,
    response: {
      200: TokenAnswer,
      ...oauthRefusals(
        missing('grant_type'),
        ...bodyRefusals,
        'OAUTH_REQUEST',
        'TOKEN_INVALID',
        'TOKEN_EXPIRED',
        'TOKEN_REVOKED',
        'GRANT_UNSUPPORTED',
        'SCOPE_INVALID',
        'CLIENT_INVALID',
        429,
        503
      )
    }
  }
  const config = { event: 'client_token' as const }
  app.post('/oauth/token', { schema, config, preValidation: app.authenticateClient }, async (request) => {
    const { grant_type, refresh_token, scope } = request.body
    if (grant_type === 'client_credentials') return app.flows.grants.clientCredentials(request.client, scope)
    if (grant_type !== 'refresh_token') throw new KeyturnError('GRANT_UNSUPPORTED')
    if (refresh_token === undefined) throw new KeyturnError('OAUTH_REQUEST', { detail: 'refresh_token is missing.' })
    // Only a narrower scope than before could be granted (RFC 6749 §6), and a session has none that could be narrowed.
    if (scope !== undefined)
      throw new KeyturnError('SCOPE_INVALID', { detail: 'A session has no scope to choose from.' })
    request.outcome = { ...request.outcome, event: 'refresh' }
    const device = describeDevice(request)
    const { answer, outcome } = await app.flows.grants.refreshToken(refresh_token, device)
    request.outcome = { ...request.outcome, ...outcome }
    return answer
  })
}
export default token

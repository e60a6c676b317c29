import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { KeyturnError } from '../../src/errors.ts'
import {
  maxOneTimeLifetime,
  type OneTimePurpose,
  oneTimePurposes,
  parseOneTimePurpose
} from '../../src/one-time-tokens/token.ts'
import { showTime } from '../../src/time.ts'
import {
  adminBodyRefusals,
  aUserId,
  management,
  needs,
  onManagementPort as config,
  UserPath
} from '../schemas/admin.ts'
import { aOneTimeToken } from '../schemas/bodies.ts'
import { missing } from '../schemas/errors.ts'

const scope = 'keyturn.users'
const purpose = { type: 'string', description: oneTimePurposes.join(', ') } as const

const IssueBody = {
  type: 'object',
  required: ['purpose'],
  properties: {
    purpose,
    lifetime: {
      type: 'integer',
      minimum: 1,
      maximum: maxOneTimeLifetime,
      description: 'Seconds; by default an hour for password_reset, a day for verify and invite'
    }
  },
  examples: [{ purpose: 'verify', lifetime: 3600 }]
} as const

const OneTimeTokenAnswer = {
  title: 'OneTimeToken',
  description: 'The token, which is not shown again',
  type: 'object',
  required: ['token', 'expires_at'],
  properties: { token: { type: 'string' }, expires_at: { type: 'string', format: 'date-time' } },
  examples: [{ token: aOneTimeToken, expires_at: '2026-01-31T13:00:00Z' }]
}

const RedeemBody = {
  type: 'object',
  required: ['token', 'purpose'],
  properties: { token: { type: 'string', description: 'A one-time token' }, purpose },
  examples: [{ token: aOneTimeToken, purpose: 'verify' }]
} as const

const Redeemed = {
  title: 'Redeemed',
  description: 'The user to whom the token was issued',
  type: 'object',
  required: ['user_id', 'purpose'],
  properties: { user_id: { type: 'string' }, purpose: { type: 'string' } },
  examples: [{ user_id: aUserId, purpose: 'verify' }]
}

/** Throws KeyturnError FIELDS_INVALID. */
function demandPurpose(text: string): OneTimePurpose {
  const purpose = parseOneTimePurpose(text)
  if (purpose !== undefined) return purpose
  throw new KeyturnError('FIELDS_INVALID', {
    fields: { purpose: [`It must be one of ${oneTimePurposes.join(', ')}.`] }
  })
}

/** POST /api/admin/users/{id}/one-time-tokens/ and /api/admin/one-time-tokens/redeem/, for services that send the tokens. */
const oneTimeTokens: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const issue = {
    ...management,
    summary: 'One-Time Token Issue',
    operationId: 'issueOneTimeToken',
    description: needs(
      scope,
      'Issues a one-time token, in place of an earlier one of the same purpose. Send it to the user.'
    ),
    params: UserPath,
    body: IssueBody,
    response: { 201: OneTimeTokenAnswer, ...adminBodyRefusals(404, missing('purpose')) }
  }
  const issuing = { schema: issue, config, onRequest: app.admit(scope) }
  app.post('/api/admin/users/:id/one-time-tokens', issuing, async ({ actor, params, body }, reply) => {
    const options = { purpose: demandPurpose(body.purpose), lifetime: body.lifetime }
    const { token, expiresAt } = await app.manage.oneTimeTokens.issue(actor, params.id, options)
    reply.code(201).header('cache-control', 'no-store')
    return { token, expires_at: showTime(expiresAt) }
  })

  const redeem = {
    ...management,
    summary: 'One-Time Token Redeem',
    operationId: 'redeemOneTimeToken',
    description: needs(scope, 'Redeems a one-time token, once.'),
    body: RedeemBody,
    response: { 200: Redeemed, ...adminBodyRefusals(missing('token'), 'ONE_TIME_TOKEN_INVALID') }
  }
  const redeeming = { schema: redeem, config, onRequest: app.admit(scope) }
  app.post('/api/admin/one-time-tokens/redeem', redeeming, async ({ actor, body }) => {
    const purpose = demandPurpose(body.purpose)
    const { userId } = await app.manage.oneTimeTokens.redeem(actor, body.token, purpose)
    return { user_id: userId, purpose }
  })
}
export default oneTimeTokens

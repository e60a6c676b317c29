import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { showEntry } from '../../src/audit/shipped.ts'
import { adminRefusals, aUserId, management, needs, onManagementPort as config, pageOf } from '../schemas/admin.ts'
import { aSessionId } from '../schemas/bodies.ts'
import { wrongQuery } from '../schemas/errors.ts'
import { pageQuery } from '../schemas/paging.ts'

const scope = 'keyturn.audit'
const text = { type: 'string' }
const textOrNull = { type: ['string', 'null'] }
const AuditItem = {
  type: 'object',
  required: ['seq', 'at', 'event', 'result', 'user_id', 'sid', 'object', 'actor', 'ip', 'request_id', 'hash'],
  properties: {
    seq: { type: 'integer', description: 'Position in the trail, from 1, without gaps' },
    at: { type: 'string', format: 'date-time' },
    event: text,
    result: text,
    user_id: textOrNull,
    sid: textOrNull,
    object: { ...textOrNull, description: 'A client, a key, or where a session of a late retry began' },
    actor: { ...textOrNull, description: 'Who acted, unless it was the user' },
    ip: textOrNull,
    request_id: text,
    hash: { type: 'string', description: 'Over the entry and the hash of the previous one' }
  }
}
const anEntry = {
  seq: 42,
  at: '2026-01-31T12:00:00Z',
  event: 'session_revoke',
  result: 'ok',
  user_id: aUserId,
  sid: aSessionId,
  object: null,
  actor: 'client:support',
  ip: '203.0.113.7',
  request_id: '0f1f9b5e-6c0f-4a52-9a58-b3a4f3d0c1e2',
  hash: 'pYQw…'
}
const ListQuery = {
  type: 'object',
  properties: {
    ...pageQuery,
    after: {
      type: 'integer',
      minimum: 0,
      maximum: 10 ** 15 - 1,
      default: 0,
      description: 'A position, from `next` of the previous page; 0 begins at the first entry'
    },
    user_id: { type: 'string', description: 'Only entries of this user' },
    event: { type: 'string', description: 'Only entries of this event' }
  }
} as const
const Page = pageOf('AuditEntries', AuditItem, [anEntry])

/** GET /api/admin/audit/: the audit trail, oldest entries first. */
const audit: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    ...management,
    summary: 'Audit List',
    description: needs(
      scope,
      'Lists the audit trail, oldest entries first. `next` is never null: when it has not changed, there is nothing new yet.'
    ),
    querystring: ListQuery,
    response: {
      200: {
        ...Page,
        properties: { ...Page.properties, next: { type: 'integer', description: 'The `after` of the next request' } },
        examples: [{ results: [anEntry], next: 42 }]
      },
      ...adminRefusals(wrongQuery(ListQuery))
    }
  }
  app.get('/api/admin/audit', { schema, config, onRequest: app.admit(scope) }, async ({ query }, reply) => {
    const { after, limit, user_id: userId, event } = query
    reply.header('cache-control', 'no-store')
    const entries = await app.stores.audit.list(after, limit, { userId, event })
    return { results: entries.map(showEntry), next: entries.at(-1)?.seq ?? after }
  })
}
export default audit

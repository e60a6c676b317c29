import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import type { FastifyRequest } from 'fastify'
import { showEntry } from '../../src/audit/shipped.ts'
import { KeyturnError } from '../../src/errors.ts'
import { adminRefusals, aUserId, management, needs, onManagementPort as config, pageOf } from '../schemas/admin.ts'
import { aSessionId } from '../schemas/bodies.ts'
import { wrongQuery } from '../schemas/errors.ts'
import { anEventStream, lastEventId, sendEvents, streams, wantsEvents } from '../schemas/events.ts'
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
    object: {
      ...textOrNull,
      description: 'A client, a key, the purpose of a one-time token, or for a late retry the address of the login'
    },
    actor: { ...textOrNull, description: 'Who acted, unless it was the user' },
    ip: textOrNull,
    request_id: text,
    hash: { type: 'string', description: 'HMAC over the entry and the hash of the previous one' }
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
      description: 'A position, from `next` of the previous page; 0 is the beginning'
    },
    order: {
      type: 'string',
      const: 'desc',
      description: 'Newest entries first; oldest first if absent. A stream ignores it'
    },
    user_id: { type: 'string', description: 'Return only entries of this user' },
    event: { type: 'string', description: 'Return only entries of this event' }
  }
} as const
const Page = pageOf('AuditEntries', AuditItem, [anEntry])
const AuditPage = {
  ...Page,
  properties: {
    ...Page.properties,
    next: { type: ['integer', 'null'], description: 'The `after` of the next request' }
  },
  examples: [{ results: [anEntry], next: 42 }]
}

const anEvent = `event: entry\nid: 42\ndata: ${JSON.stringify(anEntry)}\n\n`

/** The position that the receiver of a stream has reached. Throws KeyturnError FIELDS_INVALID. */
function placeOf(request: FastifyRequest, after: number): number {
  const id = lastEventId(request)
  if (id === undefined) return after
  if (!/^\d{1,15}$/.test(id))
    throw new KeyturnError('FIELDS_INVALID', { fields: { 'Last-Event-ID': ['A valid integer is required.'] } })
  return Number(id)
}

/** GET /api/admin/audit/: the audit trail, oldest entries first, or newest first, or as a stream. */
const audit: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    ...management,
    summary: 'Audit List',
    description: needs(
      scope,
      'Lists the audit trail, oldest entries first: `next` is never null, and if it has not changed, there are no new entries yet. ' +
        'With `order=desc`, lists newest entries first: `next` is null after the first entry of the trail. ' +
        'With Accept: text/event-stream, returns a stream of the events entry, caught-up and heartbeat, until the token expires. ' +
        'Last-Event-ID, as sent by an EventSource, takes precedence over `after`.'
    ),
    querystring: ListQuery,
    response: {
      200: {
        description: 'A page, or the stream',
        content: { 'application/json': { schema: AuditPage }, ...anEventStream(anEvent) }
      },
      ...adminRefusals(wrongQuery(ListQuery), 'BUSY')
    }
  }
  const options = { schema, config: { ...config, ...streams.config }, onRequest: app.admit(scope) }
  app.get('/api/admin/audit', options, async (request, reply) => {
    const { after, limit, order, user_id: userId, event } = request.query
    reply.header('cache-control', 'no-store')
    if (wantsEvents(request)) {
      const isAllowed = () => app.isStillAdmitted(request, scope)
      const place = placeOf(request, after)
      return sendEvents(request, reply, () =>
        app.auditStreams.open({ after: place, filter: { userId, event }, isAllowed })
      )
    }
    if (order === undefined) {
      const entries = await app.stores.audit.list(after, limit, { userId, event })
      return { results: entries.map(showEntry), next: entries.at(-1)?.seq ?? after }
    }
    const entries = await app.stores.audit.listNewest(limit, { userId, event }, after === 0 ? undefined : after)
    return { results: entries.map(showEntry), next: entries.length < limit ? null : entries.at(-1)?.seq }
  })
}
export default audit

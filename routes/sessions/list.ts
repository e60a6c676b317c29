import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { showTime } from '../../src/time.ts'
import { aSessionId } from '../schemas/bodies.ts'
import { bearerRefusals, refusals, wrongQuery } from '../schemas/errors.ts'

const time = { type: 'string', format: 'date-time' }
const Session = {
  type: 'object',
  required: ['id', 'created_at', 'last_used_at', 'expires_at', 'ip', 'user_agent', 'current'],
  properties: {
    id: { type: 'string', description: 'Id of the session; the sid claim of its tokens' },
    created_at: time,
    last_used_at: time,
    expires_at: time,
    ip: { type: 'string' },
    user_agent: { type: 'string' },
    current: { type: 'boolean', description: 'Whether the access token of this request belongs to the session' }
  }
}
const aSession = {
  id: aSessionId,
  created_at: '2026-01-31T12:00:00Z',
  last_used_at: '2026-01-31T12:04:00Z',
  expires_at: '2026-02-01T12:04:00Z',
  ip: '203.0.113.7',
  user_agent: 'curl/8.5.0',
  current: true
}
const Sessions = {
  title: 'Sessions',
  description: 'A page of sessions, newest first',
  type: 'object',
  required: ['sessions', 'next'],
  properties: {
    sessions: { type: 'array', items: Session },
    next: { type: ['string', 'null'], description: 'Cursor of the next page; null on the last page' }
  },
  examples: [{ sessions: [aSession], next: null }]
}

const [defaultLimit, maxLimit] = [100, 200]

const ListQuery = {
  type: 'object',
  properties: {
    after: { type: 'string', description: 'Cursor from `next` of the previous page' },
    limit: {
      type: 'integer',
      minimum: 1,
      maximum: maxLimit,
      default: defaultLimit,
      description: 'Maximum sessions per page'
    }
  }
} as const

/** GET /api/sessions/: the caller's sessions, newest first. */
const list: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session List',
    security: [{ bearer: [] }],
    description: 'Lists the sessions of the authenticated user, page by page.',
    querystring: ListQuery,
    response: { 200: Sessions, ...refusals(wrongQuery(ListQuery), ...bearerRefusals, 503) }
  }
  app.get('/api/sessions', { schema, onRequest: app.authenticate }, async ({ caller, query }, reply) => {
    const { sessions, next } = await app.flows.sessions.list(caller, query.limit, query.after)
    reply.header('cache-control', 'no-store')
    return {
      sessions: sessions.map(({ sid, createdAt, lastUsedAt, expiresAt, device }) => ({
        id: sid,
        created_at: showTime(createdAt),
        last_used_at: showTime(lastUsedAt),
        expires_at: showTime(expiresAt),
        ip: device.ip,
        user_agent: device.userAgent,
        current: sid === caller.sid
      })),
      next: next ?? null
    }
  })
}
export default list

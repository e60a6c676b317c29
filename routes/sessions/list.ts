import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { showSession } from '../../src/sessions/session.ts'
import { bearerRefusals, refusals, wrongQuery } from '../schemas/errors.ts'
import { pageQuery } from '../schemas/paging.ts'
import { anExampleSession, sessionWith } from '../schemas/sessions.ts'

const Session = sessionWith({
  current: { type: 'boolean', description: 'Whether the access token of this request belongs to the session' }
})
const Sessions = {
  title: 'Sessions',
  description: 'A page of sessions, newest first',
  type: 'object',
  required: ['sessions', 'next'],
  properties: {
    sessions: { type: 'array', items: Session },
    next: { type: ['string', 'null'], description: 'Cursor of the next page; null on the last page' }
  },
  examples: [{ sessions: [{ ...anExampleSession, current: true }], next: null }]
}

const ListQuery = { type: 'object', properties: pageQuery } as const

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
      sessions: sessions.map((session) => ({ ...showSession(session), current: session.sid === caller.sid })),
      next: next ?? null
    }
  })
}
export default list

import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { showSession } from '../../src/sessions/session.ts'
import {
  adminBodyRefusals,
  adminRefusals,
  aUserId,
  management,
  needs,
  onManagementPort as config,
  pageOf,
  UserPath
} from '../schemas/admin.ts'
import { aSessionId, nothing } from '../schemas/bodies.ts'
import { missing, wrongQuery } from '../schemas/errors.ts'
import { pageQuery } from '../schemas/paging.ts'
import { anExampleSession, sessionWith } from '../schemas/sessions.ts'

const scope = 'keyturn.sessions'
const SessionItem = sessionWith({ refreshes: { type: 'integer', description: 'How often it has been refreshed' } })
const ListQuery = { type: 'object', properties: pageQuery } as const
const SessionPath = {
  type: 'object',
  required: ['id', 'sid'],
  properties: {
    id: { type: 'string', description: 'Id of the user', examples: [aUserId] },
    sid: { type: 'string', description: 'Id of the session', examples: [aSessionId] }
  }
} as const
const Ended = {
  title: 'EndedSessions',
  description: 'How many sessions have ended',
  type: 'object',
  required: ['ended'],
  properties: { ended: { type: 'integer' } },
  examples: [{ ended: 3 }]
}

/** Users of one request; their ids are at most 254 characters each, and usually 36. */
const maxUsers = 10_000
const bodyLimit = 2 ** 20

const RevokeBody = {
  type: 'object',
  required: ['user_ids'],
  properties: {
    user_ids: {
      type: 'array',
      items: { type: 'string' },
      minItems: 1,
      maxItems: maxUsers,
      description: 'Ids of users; unknown ones are ignored'
    }
  },
  examples: [{ user_ids: [aUserId] }]
} as const
const EndedOfUsers = {
  title: 'EndedSessionsOfUsers',
  description: 'How many users had sessions that ended, and how many sessions',
  type: 'object',
  required: ['users', 'sessions'],
  properties: { users: { type: 'integer' }, sessions: { type: 'integer' } },
  examples: [{ users: 1, sessions: 3 }]
}

/** POST /api/admin/sessions/revoke/: ends all sessions of many users. */
const revokeSessions: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    ...management,
    summary: 'Session Revoke',
    description: needs(scope, 'Ends all sessions of up to 10,000 users. After an error, send the request again.'),
    body: RevokeBody,
    response: { 200: EndedOfUsers, ...adminBodyRefusals(missing('user_ids')) }
  }
  const options = { schema, config, bodyLimit, onRequest: app.admit(scope) }
  app.post('/api/admin/sessions/revoke', options, ({ actor, body }) =>
    app.manage.sessions.endAllOf(actor, body.user_ids)
  )
}

/** GET and DELETE /api/admin/users/{id}/sessions/, DELETE …/sessions/{sid}/: the sessions of one user. */
const sessionsOfUser: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const onRequest = app.admit(scope)

  const list = {
    ...management,
    summary: 'User Session List',
    description: needs(scope, 'Lists the sessions of a user, newest first, page by page.'),
    params: UserPath,
    querystring: ListQuery,
    response: {
      200: pageOf('UserSessions', SessionItem, [{ ...anExampleSession, refreshes: 12 }]),
      ...adminRefusals(wrongQuery(ListQuery), 404)
    }
  }
  app.get('/api/admin/users/:id/sessions', { schema: list, config, onRequest }, async ({ params, query }, reply) => {
    reply.header('cache-control', 'no-store')
    const page = await app.flows.sessions.list({ userId: params.id }, query.limit, query.after)
    // Checked only if there are no sessions: those of a user whom another program has deleted can still be listed and ended.
    if (page.sessions.length === 0) await app.manage.getUser(params.id)
    return {
      results: page.sessions.map((session) => ({ ...showSession(session), refreshes: session.generation })),
      next: page.next ?? null
    }
  })

  const endAll = {
    ...management,
    summary: 'User Session End All',
    description: needs(scope, 'Ends all sessions of a user.'),
    params: UserPath,
    response: { 200: Ended, ...adminRefusals(404) }
  }
  app.delete('/api/admin/users/:id/sessions', { schema: endAll, config, onRequest }, async ({ actor, params }) => ({
    ended: (await app.manage.sessions.endAll(actor, params.id)).length
  }))

  const end = {
    ...management,
    summary: 'User Session End',
    description: needs(scope, 'Ends one session of a user.'),
    params: SessionPath,
    response: { 204: nothing('The session has ended'), ...adminRefusals(404) }
  }
  const path = '/api/admin/users/:id/sessions/:sid'
  app.delete(path, { schema: end, config, onRequest }, async ({ actor, params }, reply) => {
    await app.manage.sessions.end(actor, params.id, params.sid)
    return reply.code(204).send(null)
  })
}
/** Sessions, for clients and users with the scope keyturn.sessions. */
const sessions: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  await app.register(sessionsOfUser)
  await app.register(revokeSessions)
}
export default sessions

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { showTime } from '../../src/time.ts'
import { refusals } from '../schemas/errors.ts'

const Time = Type.String({ format: 'date-time' })
const Sessions = Type.Object({
  sessions: Type.Array(
    Type.Object({
      id: Type.String({ description: 'The sid of its tokens' }),
      created_at: Time,
      last_used_at: Time,
      expires_at: Time,
      ip: Type.String(),
      user_agent: Type.String(),
      current: Type.Boolean({ description: 'Whether the access token of this request belongs to it' })
    })
  )
})

/** GET /api/sessions/: where the caller is logged in, newest login first. */
const list: FastifyPluginAsyncTypebox = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session List',
    description: 'The sessions of the user whose access token is sent.',
    response: { 200: Sessions, ...refusals(401, 503) }
  }
  app.get('/api/sessions', { schema, onRequest: app.authenticate }, async ({ caller }, reply) => {
    const sessions = await app.flows.sessions.list(caller)
    reply.header('cache-control', 'no-store')
    return {
      sessions: sessions.map(({ sid, createdAt, lastUsedAt, expiresAt, client }) => ({
        id: sid,
        created_at: showTime(createdAt),
        last_used_at: showTime(lastUsedAt),
        expires_at: showTime(expiresAt),
        ip: client.ip,
        user_agent: client.userAgent,
        current: sid === caller.sid
      }))
    }
  })
}
export default list

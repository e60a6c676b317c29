import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { refusals } from '../schemas/errors.ts'

/** DELETE /api/sessions/: ends all sessions of the caller; with ?keep=current all but the one that calls. */
const endAll: FastifyPluginAsyncTypebox = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session End All',
    description: 'Ends every session of the user whose access token is sent, or every other one.',
    querystring: Type.Object({ keep: Type.Optional(Type.Literal('current')) }),
    response: { 204: Type.Null(), ...refusals(400, 401, 503) }
  }
  const config = { event: 'session_end' as const }
  app.delete('/api/sessions', { schema, config, onRequest: app.authenticate }, async ({ caller, query }, reply) => {
    await app.flows.sessions.endAll(caller, query.keep === 'current')
    return reply.code(204).send(null)
  })
}
export default endAll

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { KeyturnError } from '../../src/errors.ts'
import { bearerRefusals, refusals } from '../schemas/errors.ts'

const keepOnly = new KeyturnError('FIELDS_INVALID', { fields: { keep: ['It must be "current".'] } })

/** DELETE /api/sessions/: ends all sessions of the caller; with ?keep=current all but the one that calls. */
const endAll: FastifyPluginAsyncTypebox = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session End All',
    security: [{ bearer: [] }],
    description: 'Ends every session of the user whose access token is sent, or every other one.',
    querystring: Type.Object({
      keep: Type.Optional(Type.Literal('current', { description: 'All but the one that calls' }))
    }),
    response: { 204: Type.Null({ description: 'They have ended' }), ...refusals(keepOnly, ...bearerRefusals, 503) }
  }
  const config = { event: 'session_end' as const }
  app.delete('/api/sessions', { schema, config, onRequest: app.authenticate }, async ({ caller, query }, reply) => {
    await app.flows.sessions.endAll(caller, query.keep === 'current')
    return reply.code(204).send(null)
  })
}
export default endAll

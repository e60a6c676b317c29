import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { aSessionId } from '../schemas/bodies.ts'
import { bearerRefusals, refusals } from '../schemas/errors.ts'

/** DELETE /api/sessions/{id}/: ends one session of the caller, here or elsewhere. */
const end: FastifyPluginAsyncTypebox = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session End',
    security: [{ bearer: [] }],
    description: 'Ends one session of the user whose access token is sent.',
    params: Type.Object({ id: Type.String({ description: 'As the list has it', examples: [aSessionId] }) }),
    response: { 204: Type.Null({ description: 'It has ended' }), ...refusals(...bearerRefusals, 404, 503) }
  }
  const config = { event: 'session_end' as const }
  app.delete(
    '/api/sessions/:id',
    { schema, config, onRequest: app.authenticate },
    async ({ caller, params }, reply) => {
      await app.flows.sessions.end(caller, params.id)
      return reply.code(204).send(null)
    }
  )
}
export default end

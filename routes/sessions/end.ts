import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { aSessionId, nothing } from '../schemas/bodies.ts'
import { bearerRefusals, refusals } from '../schemas/errors.ts'

const SessionPath = {
  type: 'object',
  required: ['id'],
  properties: {
    id: { type: 'string', description: 'Id of the session, from the list of sessions', examples: [aSessionId] }
  }
} as const

/** DELETE /api/sessions/{id}/: ends one session of the caller, here or elsewhere. */
const end: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session End',
    security: [{ bearer: [] }],
    description: 'Ends one session of the authenticated user.',
    params: SessionPath,
    response: { 204: nothing('The session has ended'), ...refusals(...bearerRefusals, 404, 503) }
  }
  const config = { event: 'session_end' as const }
  app.delete('/api/sessions/:id', { schema, config, onRequest: app.authenticate }, async (request, reply) => {
    const { caller, params } = request
    await app.flows.sessions.end(caller, params.id)
    // The session that ended, which may not be the caller's.
    request.outcome = { user_id: caller.userId, sid: params.id }
    return reply.code(204).send(null)
  })
}
export default end

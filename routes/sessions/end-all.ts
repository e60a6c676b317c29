import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { nothing } from '../schemas/bodies.ts'
import { bearerRefusals, refusals, wrongQuery } from '../schemas/errors.ts'

const EndAllQuery = {
  type: 'object',
  properties: {
    keep: { type: 'string', const: 'current', description: 'Keep the session of the access token in this request' }
  }
} as const

/** DELETE /api/sessions/: ends all sessions of the caller; with ?keep=current all but the current one. */
const endAll: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session End All',
    security: [{ bearer: [] }],
    description: 'Ends all sessions of the authenticated user, or with ?keep=current all others.',
    querystring: EndAllQuery,
    response: { 204: nothing('The sessions have ended'), ...refusals(wrongQuery(EndAllQuery), ...bearerRefusals, 503) }
  }
  const config = { event: 'session_end' as const }
  app.delete('/api/sessions', { schema, config, onRequest: app.authenticate }, async (request, reply) => {
    const { caller, query } = request
    await app.flows.sessions.endAll(caller, query.keep === 'current')
    // Several sessions, and with ?keep=current not the caller's.
    request.outcome = { user_id: caller.userId }
    return reply.code(204).send(null)
  })
}
export default endAll

import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { KeyturnError } from '../../src/errors.ts'
import { nothing } from '../schemas/bodies.ts'
import { bearerRefusals, refusals } from '../schemas/errors.ts'

const EndAllQuery = {
  type: 'object',
  properties: { keep: { type: 'string', const: 'current', description: 'All but the one that calls' } }
} as const

const keepOnly = new KeyturnError('FIELDS_INVALID', { fields: { keep: ['It must be "current".'] } })

/** DELETE /api/sessions/: ends all sessions of the caller; with ?keep=current all but the one that calls. */
const endAll: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Session End All',
    security: [{ bearer: [] }],
    description: 'Ends every session of the user whose access token is sent, or every other one.',
    querystring: EndAllQuery,
    response: { 204: nothing('They have ended'), ...refusals(keepOnly, ...bearerRefusals, 503) }
  }
  const config = { event: 'session_end' as const }
  app.delete('/api/sessions', { schema, config, onRequest: app.authenticate }, async (request, reply) => {
    const { caller, query } = request
    // A query is not looked at by its schema (plugins/fields.ts), and to end more than was meant is worse than to refuse.
    if (query.keep !== undefined && query.keep !== 'current') throw keepOnly
    await app.flows.sessions.endAll(caller, query.keep === 'current')
    // Several sessions, and with ?keep=current not the caller's.
    request.outcome = { user_id: caller.userId }
    return reply.code(204).send(null)
  })
}
export default endAll

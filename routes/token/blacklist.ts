import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeClient } from '../../src/sessions/session.ts'
import { Empty, refreshBody } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** POST /api/token/blacklist/: ends the session of a refresh token. As Simple JWT's TokenBlacklistView. */
const blacklist: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Blacklist',
    description: 'Takes a refresh token and ends its session: a logout.',
    body: refreshBody(app.refreshCookie.enabled),
    response: { 200: Empty, ...refusals(missing('refresh'), ...bodyRefusals, 401, 403, 503) }
  }
  app.post('/api/token/blacklist', { schema, config: { event: 'logout' } }, async (request, reply) => {
    const token = request.body.refresh ?? app.refreshCookie.demand(request)
    request.outcome = await app.flows.blacklist(token, describeClient(request.ip, request.headers['user-agent']))
    app.refreshCookie.clear(reply)
    return {}
  })
}
export default blacklist

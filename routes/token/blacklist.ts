import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { Empty, refreshBody } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** POST /api/token/blacklist/: ends the session of a refresh token. As Simple JWT's TokenBlacklistView. */
const blacklist: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['token'],
    summary: 'Token Blacklist',
    description: 'Logs out: ends the session of a refresh token.',
    body: refreshBody(app.refreshCookie.enabled),
    response: { 200: Empty, ...refusals(missing('refresh'), ...bodyRefusals, 401, 403, 503) }
  }
  const options = { schema, config: { event: 'logout' as const }, onRequest: app.refreshCookie.guard }
  app.post('/api/token/blacklist', options, async (request, reply) => {
    const { refresh: given } = request.body
    const tokens = given === undefined ? app.flows.newestFirst(app.refreshCookie.demand(request)) : [given]
    const device = describeDevice(request)
    request.outcome = await app.flows.tryEach(tokens, (token) => app.flows.blacklist(token, device))
    app.refreshCookie.clear(reply)
    return {}
  })
}
export default blacklist

import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { KeyturnError } from '../../src/errors.ts'
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
  const config = { event: 'logout' as const, isForConsole: true }
  const options = { schema, config, onRequest: app.refreshCookie.guard }
  app.post('/api/token/blacklist', options, async (request, reply) => {
    const { refresh: given } = request.body
    const tokens = given === undefined ? app.flows.newestFirst(app.refreshCookie.demand(request)) : [given]
    const device = describeDevice(request)
    try {
      request.outcome = await app.flows.tryEach(tokens, (token) => app.flows.blacklist(token, device))
    } catch (error) {
      // Scripts of the page cannot remove a cookie whose token has expired or was revoked.
      if (given === undefined && error instanceof KeyturnError && error.status === 401) app.refreshCookie.clear(reply)
      throw error
    }
    app.refreshCookie.clear(reply)
    return {}
  })
}
export default blacklist

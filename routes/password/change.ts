import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { nothing, PasswordBody } from '../schemas/bodies.ts'
import { bearerRefusals, bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** POST /api/password/: changes the caller's password, which requires the current one; all other sessions end. */
const change: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Password Change',
    security: [{ bearer: [] }],
    description: 'Changes the password of the authenticated user and ends the user’s other sessions.',
    body: PasswordBody,
    response: {
      204: nothing('The password was changed'),
      ...refusals(missing('new_password'), ...bodyRefusals, ...bearerRefusals, 429, 'BUSY', 'STORE_DOWN')
    }
  }
  // The current password could be guessed here as at a login, so a request counts as a login.
  const config = { event: 'password_change' as const, rateLimit: app.rateLimits.obtain }
  app.post('/api/password', { schema, config, onRequest: app.authenticate }, async (request, reply) => {
    const { current_password: current, new_password: wanted } = request.body
    const sender = { ...app.describeLogin(request, reply), requestId: request.id }
    await app.flows.changePassword(request.caller, sender, { current, wanted })
    return reply.code(204).send(null)
  })
}
export default change

import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { nothing, PasswordBody } from './schemas/bodies.ts'
import { bearerRefusals, bodyRefusals, missing, refusals } from './schemas/errors.ts'

/** POST /api/password/: a new password for the caller, who proves the current one; every other session ends. */
const password: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Password Change',
    security: [{ bearer: [] }],
    description: 'Sets the password of the user whose access token is sent, and ends that user’s other sessions.',
    body: PasswordBody,
    response: {
      204: nothing('The password is set'),
      ...refusals(missing('new_password'), ...bodyRefusals, ...bearerRefusals, 429, 'BUSY', 'STORE_DOWN')
    }
  }
  // Guessing the current password is guessing a login, and counts as such.
  const config = { event: 'password_change' as const, rateLimit: app.rateLimits.obtain }
  app.post('/api/password', { schema, config, onRequest: app.authenticate }, async (request, reply) => {
    const { current_password: current, new_password: wanted } = request.body
    await app.flows.changePassword(request.caller, app.describeLogin(request, reply), { current, wanted })
    return reply.code(204).send(null)
  })
}
export default password

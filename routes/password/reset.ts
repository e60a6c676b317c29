import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { nothing, PasswordResetBody } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/** POST /api/password/reset/: sets a password with a one-time token, once; all sessions of its user end. */
const reset: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    tags: ['sessions'],
    summary: 'Password Reset',
    description:
      'Sets the password of the user to whom a one-time token for a password reset or an invitation was sent, and ends all sessions of the user. A password that the policy refuses does not use up the token.',
    body: PasswordResetBody,
    response: {
      204: nothing('The password was set'),
      ...refusals(missing('token'), 'ONE_TIME_TOKEN_INVALID', ...bodyRefusals, 429, 'BUSY', 'STORE_DOWN')
    }
  }
  const config = { event: 'password_reset' as const, rateLimit: app.rateLimits.obtain }
  app.post('/api/password/reset', { schema, config, onRequest: app.refuseIfFull }, async (request, reply) => {
    const { token, new_password: wanted } = request.body
    const sender = { ...app.describeLogin(request, reply), requestId: request.id }
    request.outcome = await app.flows.resetPassword({ token, wanted }, sender)
    return reply.code(204).send(null)
  })
}
export default reset

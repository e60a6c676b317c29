import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { describeDevice } from '../../src/sessions/session.ts'
import { Empty, UsernameBody } from '../schemas/bodies.ts'
import { bodyRefusals, missing, refusals } from '../schemas/errors.ts'

/**
 * POST /api/password/forgot/: requests a password reset. The answer is the same for every username. Only where HOOKS_MODULE exports
 * onPasswordResetRequested, which sends the token.
 */
const forgot: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const { passwordForgotten } = app.flows
  if (passwordForgotten === undefined) return
  const schema = {
    tags: ['sessions'],
    summary: 'Password Forgot',
    description:
      'Requests a one-time token that resets the password; the hook onPasswordResetRequested sends it. The response does not depend on whether the user exists. 404 without this hook.',
    body: UsernameBody,
    response: {
      202: { ...Empty, description: 'The request was accepted' },
      ...refusals(missing('username'), ...bodyRefusals, 404, 429, 'BUSY', 'STORE_DOWN')
    }
  }
  const config = { event: 'password_reset_request' as const, rateLimit: app.rateLimits.obtain }
  app.post('/api/password/forgot', { schema, config }, async (request, reply) => {
    const { username } = request.body
    const send = await passwordForgotten.accept({ username, ...describeDevice(request), requestId: request.id })
    // Whether the client has waited for the answer or not.
    reply.raw.once('close', send)
    return reply.code(202).send({})
  })
}
export default forgot

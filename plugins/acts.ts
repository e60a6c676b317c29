import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isAct } from '../src/audit/event.ts'
import { eventOf, resultOf } from './requests.ts'

/**
 * Delays the response to an act, such as a login or a logout, until the audit trail has its entry. If the entry cannot be
 * written, the response is 503 instead, without the tokens of a login. Its hook is the first of all `onSend` hooks, so that the
 * hooks that log and count a request run once, with its final answer.
 */
async function acts(app: FastifyInstance): Promise<void> {
  app.addHook('onSend', (request, reply, payload, done) => {
    const event = eventOf(request)
    if (event === undefined || !isAct(event, resultOf(request))) return done(null, payload)
    app.recordRequest(event, request).then(
      () => done(null, payload),
      (error: Error) => {
        reply.removeHeader('set-cookie')
        done(error)
      }
    )
  })
}

export default fp(acts, { name: 'acts', dependencies: ['errors'] })

import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isAudited } from '../src/audit/event.ts'
import type { Clock } from '../src/time.ts'
import { eventOf, resultOf } from './requests.ts'

/** Writes what matters into the audit trail, after the answer. A trail that cannot be written is told in the log and stops nobody. */
async function audit(app: FastifyInstance, { clock }: { readonly clock: Clock }): Promise<void> {
  app.addHook('onResponse', async (request) => {
    const event = eventOf(request)
    const result = resultOf(request)
    if (event === undefined || !isAudited({ event, result })) return
    const { user_id: userId, sid } = request.outcome ?? {}
    try {
      await app.stores.audit.append({ event, result, at: clock(), userId, sid, ip: request.ip, requestId: request.id })
    } catch (error) {
      request.log.error({ err: error, event, result, user_id: userId, sid }, 'the audit trail cannot be written')
    }
  })
}

export default fp(audit, { name: 'audit', dependencies: ['requests', 'stores'] })

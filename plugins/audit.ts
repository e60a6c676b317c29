import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type AuditEvent, type EventName, isAudited } from '../src/audit/event.ts'
import { type AuditTrail, makeAuditTrail } from '../src/audit/trail.ts'
import type { Config } from '../src/config/settings.ts'
import { openAuditSecret } from '../src/keys/keyring.ts'
import type { Clock } from '../src/time.ts'
import { eventOf, resultOf, whichRequest } from './requests.ts'

/** Writes what matters into the audit trail, beside the answer. A trail that cannot be written is told in the log and stops nobody. */
async function audit(
  app: FastifyInstance,
  { config, clock }: { readonly config: Config; readonly clock: Clock }
): Promise<void> {
  const { keys: store, keySecret: secret } = app.stores
  const previousSecret = config.keyEncryptionSecretPrevious
  const trail = makeAuditTrail(app.stores.audit, await openAuditSecret({ store, secret, previousSecret, clock }))
  app.decorate('auditTrail', trail)
  const record = async (event: EventName, request: FastifyRequest): Promise<void> => {
    const facts = { event, ...describe(request) }
    try {
      await trail.record({ ...facts, at: clock(), ip: request.ip, requestId: request.id })
    } catch (error) {
      app.log.error({ ...whichRequest(request), err: error, ...facts }, 'the audit trail cannot be written')
    }
  }
  app.addHook('onSend', (request, _reply, payload, done) => {
    const event = eventOf(request)
    if (event !== undefined && isAudited(event, resultOf(request))) void record(event, request)
    done(null, payload)
  })
  app.addHook('onClose', () => trail.settled())
}

const describe = (request: FastifyRequest): Pick<AuditEvent, 'result' | 'userId' | 'sid' | 'object'> => {
  const { user_id: userId, sid, client_id: object } = request.outcome ?? {}
  return { result: resultOf(request), userId, sid, object }
}

declare module 'fastify' {
  interface FastifyInstance {
    auditTrail: AuditTrail
  }
}

export default fp(audit, { name: 'audit', dependencies: ['requests', 'stores'] })

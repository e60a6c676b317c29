import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { networkOf } from '../src/addresses.ts'
import { type AuditEvent, type EventName, isAct, isAudited, isSheddable } from '../src/audit/event.ts'
import { isShed } from '../src/audit/shedding.ts'
import { type AuditTrail, makeAuditTrail } from '../src/audit/trail.ts'
import type { Config } from '../src/config/settings.ts'
import { openAuditSecret } from '../src/keys/keyring.ts'
import { makeOwnCounters } from '../src/limits/counters.ts'
import type { Clock } from '../src/time.ts'
import type { UserStore } from '../src/users/store.ts'
import { callerAddress } from './forwarded.ts'
import { eventOf, resultOf, whichRequest } from './requests.ts'

/** While the trail is behind, one entry per address stands for all its failures in this period, in seconds. */
const minute = 60

/**
 * Writes security events to the audit trail: acts before their answer (plugins/acts.ts), everything else in parallel with it. An
 * entry that cannot be written is logged; only an act is then refused.
 */
async function audit(
  app: FastifyInstance,
  { config, clock }: { readonly config: Config; readonly clock: Clock }
): Promise<void> {
  const { keys: store, keySecret: secret } = app.stores
  const previousSecret = config.keyEncryptionSecretPrevious
  const trail = makeAuditTrail(app.stores.audit, await openAuditSecret({ store, secret, previousSecret, clock }))
  app.decorate('auditTrail', trail)
  app.decorate('usersWith', (event: AuditEvent) => app.stores.usersWith(trail.entryOf(event)))
  const recorded = makeOwnCounters()
  app.decorate('shedsEntry', (result: string, ip: string): boolean => {
    if (!isSheddable(result)) return false
    const network = networkOf(ip)
    if (isShed(trail.waiting(), recorded.find(network) !== undefined)) {
      app.tallies.auditShed += 1
      return true
    }
    recorded.keep(network, { number: 1, left: minute })
    return false
  })
  app.decorate('recordRequest', async (event: EventName, request: FastifyRequest): Promise<void> => {
    const facts = { event, ...describe(request), ...lateRetry(request) }
    try {
      await trail.record({ ...facts, at: clock(), ip: callerAddress(request), requestId: request.id })
    } catch (error) {
      app.tallies.auditLost += 1
      app.log.error({ ...whichRequest(request), err: error, ...facts }, 'audit entry could not be written')
      throw error
    }
  })
  app.addHook('onSend', (request, _reply, payload, done) => {
    const [event, result] = [eventOf(request), resultOf(request)]
    if (event !== undefined && isAudited(event, result) && !isAct(event, result)) {
      // A client that has closed its connection has no address.
      if (!app.shedsEntry(result, request.ip ?? '')) app.recordRequest(event, request).catch(() => {})
    }
    done(null, payload)
  })
  app.addHook('onClose', () => trail.settled())
}

const describe = (request: FastifyRequest): Pick<AuditEvent, 'result' | 'userId' | 'sid' | 'object'> => {
  const { user_id: userId, sid, client_id: object } = request.outcome ?? {}
  return { result: resultOf(request), userId, sid, object }
}

/** A separate event with both addresses, so that operators can watch for it: the retry may be a thief's. */
const lateRetry = ({ outcome }: FastifyRequest): Pick<AuditEvent, 'event' | 'result' | 'object'> | undefined =>
  outcome?.verdict === 'late' ? { event: 'late_retry', result: 'ok', object: outcome.login_ip } : undefined

declare module 'fastify' {
  interface FastifyInstance {
    auditTrail: AuditTrail
    /** The users; a change is committed together with the entry of this event, or not at all. */
    usersWith(event: AuditEvent): UserStore
    /** Whether the entry of a request from this address is to be omitted (isShed); counts it if so. */
    shedsEntry(result: string, ip: string): boolean
    /** Writes the entry of a request. Throws KeyturnError STORE_DOWN; what could not be written is in the log. */
    recordRequest(event: EventName, request: FastifyRequest): Promise<void>
  }
}

export default fp(audit, { name: 'audit', dependencies: ['requests', 'metrics', 'stores'] })

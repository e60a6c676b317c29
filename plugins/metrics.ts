import { Counter, collectDefaultMetrics, Registry } from '@platformatic/prom-client'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { EventName } from '../src/audit/event.ts'
import { eventOf, resultOf } from './requests.ts'

/** The counter of each event; its `result` is a verdict, `ok`, or the code of a refusal in small letters. */
const counters: Readonly<Record<EventName, readonly [name: string, help: string]>> = {
  login: ['keyturn_logins_total', 'Logins'],
  refresh: ['keyturn_refreshes_total', 'Refreshes, by verdict'],
  verify: ['keyturn_verifications_total', 'Verifications'],
  logout: ['keyturn_logouts_total', 'Sessions ended by their refresh token'],
  session_end: ['keyturn_session_ends_total', 'Requests that ended sessions from the list'],
  password_change: ['keyturn_password_changes_total', 'Password changes'],
  client_token: ['keyturn_client_tokens_total', 'Tokens that clients asked for, for themselves'],
  introspect: ['keyturn_introspections_total', 'Introspections'],
  revoke: ['keyturn_revocations_total', 'Tokens that clients revoked'],
  forward_auth: ['keyturn_forward_auths_total', 'Requests that proxies asked about']
}

/** Counts what came of every request, by event; served at /metrics. */
async function metrics(app: FastifyInstance): Promise<void> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const byEvent = Object.fromEntries(
    Object.entries(counters).map(([event, [name, help]]) => [
      event,
      new Counter({ name, help, labelNames: ['result'], registers: [registry] })
    ])
  ) as Record<EventName, Counter<'result'>>
  app.decorate('metrics', registry)
  app.addHook('onSend', (request, _reply, payload, done) => {
    const event = eventOf(request)
    if (event !== undefined) byEvent[event].inc({ result: resultOf(request) })
    done(null, payload)
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    metrics: Registry
  }
}

export default fp(metrics, { name: 'metrics', dependencies: ['requests'] })

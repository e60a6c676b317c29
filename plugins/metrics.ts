import type { Registry } from '@platformatic/prom-client'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { EventName } from '../src/audit/event.ts'
import { eventOf, resultOf } from './requests.ts'

/** The counter of each event; its `result` is a verdict, `ok`, or an error code in lower case. */
const counters: Readonly<Record<EventName, readonly [name: string, help: string]>> = {
  login: ['keyturn_logins_total', 'Logins'],
  refresh: ['keyturn_refreshes_total', 'Refreshes, by verdict'],
  verify: ['keyturn_verifications_total', 'Verifications'],
  logout: ['keyturn_logouts_total', 'Sessions ended by their refresh token'],
  session_end: ['keyturn_session_ends_total', 'Requests that ended sessions from the list'],
  password_change: ['keyturn_password_changes_total', 'Password changes'],
  password_reset: ['keyturn_password_resets_total', 'Passwords set with a one-time token'],
  password_reset_request: ['keyturn_password_reset_requests_total', 'Requests for a password reset'],
  client_token: ['keyturn_client_tokens_total', 'Access tokens issued to clients for themselves'],
  introspect: ['keyturn_introspections_total', 'Introspections'],
  revoke: ['keyturn_revocations_total', 'Tokens that clients revoked'],
  forward_auth: ['keyturn_forward_auths_total', 'Forward-auth subrequests of proxies'],
  revocations: ['keyturn_revocation_reads_total', 'Requests for the revocations, as a stream or as a page']
}

/** Counters other than the results of requests. */
const tallies = {
  auditShed: ['keyturn_audit_entries_shed_total', 'Audit entries of failures left out while the trail was behind'],
  logDropped: ['keyturn_log_lines_dropped_total', 'Log lines dropped because standard output did not accept them'],
  streamsCut: [
    'keyturn_revocation_streams_cut_total',
    'Revocation streams cut because their receiver did not read them'
  ],
  auditLost: ['keyturn_audit_entries_lost_total', 'Audit entries that could not be written; they are in the log']
} as const

type Tallies = Record<keyof typeof tallies, number>

export interface MetricsOptions {
  /** Log lines that this process has dropped. */
  readonly droppedLines?: (() => number) | undefined
}

/** A value of this process at the time of a scrape, and how it is aggregated over all workers. */
export interface GaugeOptions {
  readonly name: string
  readonly help: string
  readonly aggregator: 'sum' | 'max'
  read(): number
}

/** Counts per event and result. */
type Counts = Readonly<Record<EventName, Map<string, number>>>

/** Counts the outcome of every request by event, for /metrics. */
async function metrics(app: FastifyInstance, { droppedLines = () => 0 }: MetricsOptions): Promise<void> {
  const counts = Object.fromEntries(Object.keys(counters).map((event) => [event, new Map()])) as Counts
  const totals: Tallies = { auditShed: 0, auditLost: 0, logDropped: 0, streamsCut: 0 }
  const gauges: GaugeOptions[] = []
  let registry: Promise<Registry> | undefined
  app.decorate('tallies', totals)
  app.decorate('addGauge', (gauge: GaugeOptions) => void gauges.push(gauge))
  app.decorate('metrics', () => {
    totals.logDropped = droppedLines()
    registry ??= openRegistry(counts, totals, gauges)
    return registry
  })
  app.addHook('onSend', (request, _reply, payload, done) => {
    const event = eventOf(request)
    if (event !== undefined) {
      const result = resultOf(request)
      counts[event].set(result, (counts[event].get(result) ?? 0) + 1)
    }
    done(null, payload)
  })
}

/** Loaded on the first scrape: it takes a twentieth of a start, and many services are never scraped. */
async function openRegistry(counts: Counts, totals: Tallies, gauges: readonly GaugeOptions[]): Promise<Registry> {
  const { Counter, Gauge, collectDefaultMetrics, Registry } = await import('@platformatic/prom-client')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const [event, [name, help]] of Object.entries(counters)) {
    new Counter({
      name,
      help,
      labelNames: ['result'],
      registers: [registry],
      collect() {
        this.reset()
        for (const [result, count] of counts[event as EventName]) this.inc({ result }, count)
      }
    })
  }
  for (const [total, [name, help]] of Object.entries(tallies)) {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(totals[total as keyof Tallies])
      }
    })
  }
  for (const { name, help, aggregator, read } of gauges) {
    new Gauge({
      name,
      help,
      aggregator,
      registers: [registry],
      collect() {
        this.set(read())
      }
    })
  }
  return registry
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics of this process. */
    metrics(): Promise<Registry>
    /** Totals that other plugins add to. */
    readonly tallies: Tallies
    /** Before the first scrape. */
    addGauge(gauge: GaugeOptions): void
  }
}

export default fp(metrics, { name: 'metrics', dependencies: ['requests'] })

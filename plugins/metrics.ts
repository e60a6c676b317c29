import type { Metric, Registry } from '@platformatic/prom-client'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { EventName } from '../src/audit/event.ts'
import { requestBounds, Timings, type TimingsOptions } from '../src/timings.ts'
import { eventOf, methodOf, resultOf } from './requests.ts'

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

/** Results that alerts look for. They are counted from zero, since Prometheus does not see an increase in a series that appears. */
const rareResults: Readonly<Partial<Record<EventName, readonly string[]>>> = {
  login: ['busy'],
  refresh: ['reused', 'recovered']
}

/** Counters other than the results of requests. */
const tallies = {
  auditShed: ['keyturn_audit_entries_shed_total', 'Audit entries of failures left out while the trail was behind'],
  logDropped: ['keyturn_log_lines_dropped_total', 'Log lines dropped because standard output did not accept them'],
  streamsCut: [
    'keyturn_revocation_streams_cut_total',
    'Revocation streams cut because their receiver did not read them'
  ],
  auditStreamsCut: [
    'keyturn_audit_streams_cut_total',
    'Streams of the audit trail cut because their receiver did not read them'
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
  /** The name of its only label, if it has one; `read` then returns a value for each of the label's values. */
  readonly label?: string
  /** Undefined if there is no value. */
  read(): number | ReadonlyMap<string, number> | undefined
}

/** Counts per event and result. */
type Counts = Readonly<Record<EventName, Map<string, number>>>

const countsOf = (event: EventName): Map<string, number> =>
  new Map((rareResults[event] ?? []).map((result) => [result, 0]))

/** How often the delay of the event loop is measured, in milliseconds. */
const lagInterval = 100

/** Counts the outcome of every request by event, and its duration by route, for /metrics. */
async function metrics(app: FastifyInstance, { droppedLines = () => 0 }: MetricsOptions): Promise<void> {
  const counts = Object.fromEntries(
    Object.keys(counters).map((event) => [event, countsOf(event as EventName)])
  ) as Counts
  const totals: Tallies = { auditShed: 0, auditLost: 0, logDropped: 0, streamsCut: 0, auditStreamsCut: 0 }
  const gauges: GaugeOptions[] = []
  const histograms: Timings[] = []
  const addTimings = (options: TimingsOptions): Timings => {
    const timings = new Timings(options)
    histograms.push(timings)
    return timings
  }
  let registry: Promise<Registry> | undefined
  app.decorate('resultCounts', counts)
  app.decorate('tallies', totals)
  app.decorate('addGauge', (gauge: GaugeOptions) => void gauges.push(gauge))
  app.decorate('addTimings', addTimings)
  app.decorate('metrics', () => {
    totals.logDropped = droppedLines()
    registry ??= openRegistry(counts, totals, gauges, histograms)
    return registry
  })
  const durations = addTimings({
    name: 'http_server_request_duration_seconds',
    help: 'Duration of requests until their response is sent, by route',
    labels: ['http_route', 'http_request_method', 'http_response_status_class'],
    bounds: requestBounds
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    durations.add(
      reply.elapsedTime / 1000,
      request.endpoint?.url ?? 'none',
      methodOf(request),
      statusClasses[Math.floor(reply.statusCode / 100)] ?? 'none'
    )
    const event = eventOf(request)
    if (event !== undefined) {
      const result = resultOf(request)
      counts[event].set(result, (counts[event].get(result) ?? 0) + 1)
    }
    done(null, payload)
  })
  measureLag(app)
}

const statusClasses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx']

/** Measures how late a timer fires, which is how long the event loop was busy with other work. */
function measureLag(app: FastifyInstance): void {
  const lag = app.addTimings({
    name: 'keyturn_event_loop_lag_seconds',
    help: 'How late a timer fired in a worker, measured ten times per second',
    labels: [],
    bounds: requestBounds
  })
  let expectedAt = performance.now() + lagInterval
  const timer = setInterval(() => {
    const now = performance.now()
    lag.add(Math.max(0, now - expectedAt) / 1000)
    expectedAt = now + lagInterval
  }, lagInterval)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

/** Loaded on the first scrape: it takes a twentieth of a start, and many services are never scraped. */
async function openRegistry(
  counts: Counts,
  totals: Tallies,
  gauges: readonly GaugeOptions[],
  histograms: readonly Timings[]
): Promise<Registry> {
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
  for (const { name, help, aggregator, label, read } of gauges) {
    new Gauge({
      name,
      help,
      aggregator,
      labelNames: label === undefined ? [] : [label],
      registers: [registry],
      collect() {
        this.reset()
        const value = read()
        if (typeof value === 'number') this.set(value)
        else for (const [of, each] of value ?? []) this.set({ [String(label)]: of }, each)
      }
    })
  }
  // Its histograms count in maps keyed by label; ours are cheaper, and only read here.
  for (const timings of histograms)
    registry.registerMetric({ ...timings.read(), get: async () => timings.read() } as unknown as Metric)
  return registry
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics of this process. */
    metrics(): Promise<Registry>
    /** The requests of this process so far, by event and result. */
    readonly resultCounts: Readonly<Record<EventName, ReadonlyMap<string, number>>>
    /** Totals that other plugins add to. */
    readonly tallies: Tallies
    /** Before the first scrape. */
    addGauge(gauge: GaugeOptions): void
    /** Before the first scrape: a histogram of durations. */
    addTimings(options: TimingsOptions): Timings
  }
}

export default fp(metrics, { name: 'metrics', dependencies: ['requests'] })

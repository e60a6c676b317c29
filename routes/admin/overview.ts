import { hostname } from 'node:os'
import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import { type Activity, type ActivityMinute, quantileOf } from '../../src/activity.ts'
import { showKey } from '../../src/keys/store.ts'
import { showTime } from '../../src/time.ts'
import { adminRefusals, aKey, KeyItem, management, needs, onManagementPort as config } from '../schemas/admin.ts'
import { version } from '../../src/version.ts'

const scope = 'keyturn.admin'
const time = { type: 'string', format: 'date-time' }
const count = (description: string) => ({ type: 'integer', description })
const results = (description: string) => ({
  type: 'object',
  additionalProperties: { type: 'integer' },
  description: `${description}, by result`
})
const Counts = {
  logins: results('Logins'),
  refreshes: results('Refreshes'),
  verifications: results('Verifications')
}
const Latency = {
  type: 'object',
  required: ['p50', 'p99'],
  properties: { p50: { type: ['number', 'null'] }, p99: { type: ['number', 'null'] } }
}
const Minute = {
  type: 'object',
  required: ['at', ...Object.keys(Counts), 'errors', 'latency_ms', 'hash_queue', 'revocation_lag_ms'],
  properties: {
    at: { ...time, description: 'When the minute begins' },
    ...Counts,
    errors: count('Responses with a status of 500 or above'),
    latency_ms: {
      type: 'object',
      required: ['login', 'refresh', 'verify'],
      properties: { login: Latency, refresh: Latency, verify: Latency },
      description: 'Durations that 50 and 99 percent of the requests did not exceed; null if there were none'
    },
    hash_queue: count('Highest number of passwords that waited for a hasher'),
    revocation_lag_ms: count('Longest time since the worker that is furthest behind heard from the revocation feed')
  }
}
const Overview = {
  title: 'Overview',
  description: 'The activity of all workers of this host',
  type: 'object',
  required: [
    'version',
    'host',
    'now',
    'started_at',
    'workers',
    'hashers',
    'totals',
    'sessions',
    'hash_queue',
    'revocation_lag_ms',
    'keys',
    'minutes'
  ],
  properties: {
    version: { type: 'string' },
    host: { type: 'string', description: 'Each host counts its own requests' },
    now: time,
    started_at: { ...time, description: 'When the totals began; a reload does not reset them' },
    workers: count('Workers that are ready'),
    hashers: count('Hashers that are ready'),
    totals: { type: 'object', required: Object.keys(Counts), properties: Counts },
    sessions: {
      type: ['integer', 'null'],
      description: 'Estimated number of live sessions on all hosts; null if the store is down'
    },
    hash_queue: {
      type: 'object',
      required: ['waiting', 'capacity'],
      properties: { waiting: count('Passwords that are waiting for a hasher'), capacity: count('HASH_QUEUE') }
    },
    revocation_lag_ms: count('The highest value of this minute'),
    keys: {
      type: ['array', 'null'],
      items: KeyItem,
      description: 'Keys that sign access tokens; none if SIGNING_KEY is set, null if the database is down'
    },
    minutes: {
      type: 'array',
      maxItems: 60,
      items: Minute,
      description: 'The last hour, oldest first, without gaps; the last minute is not complete'
    }
  },
  examples: [anOverview()]
}

function anOverview() {
  const totals = { logins: { ok: 1204, login_failed: 31 }, refreshes: { rotated: 9120, retried: 3 }, verifications: {} }
  const minute = {
    at: '2026-01-31T12:00:00Z',
    logins: { ok: 3, login_failed: 1 },
    refreshes: { rotated: 21 },
    verifications: {},
    errors: 0,
    latency_ms: {
      login: { p50: 62.5, p99: 99.5 },
      refresh: { p50: 0.8, p99: 2.4 },
      verify: { p50: null, p99: null }
    },
    hash_queue: 1,
    revocation_lag_ms: 640
  }
  return {
    version: '1.0.0',
    host: 'auth-1',
    now: '2026-01-31T12:00:21Z',
    started_at: '2026-01-28T07:12:40Z',
    workers: 2,
    hashers: 1,
    totals,
    sessions: 8150,
    hash_queue: { waiting: 0, capacity: 64 },
    revocation_lag_ms: 640,
    keys: [{ ...aKey, state: 'active', activated_at: '2026-01-31T12:00:00Z' }],
    minutes: [minute]
  }
}

/** GET /api/admin/overview/: the activity of the service. */
const overview: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const schema = {
    ...management,
    summary: 'Overview',
    description: needs(
      scope,
      'Returns what all workers of this host have done since the start and in each minute of the last hour, with sessions and keys. Requests to other workers are included within a second.'
    ),
    response: { 200: Overview, ...adminRefusals() }
  }
  app.get('/api/admin/overview', { schema, config, onRequest: app.admit(scope) }, async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    const { activity, sessionCount, keys, now } = await app.manage.overview()
    const { waiting, capacity } = activity.hashQueue
    return {
      version,
      host: hostname(),
      now: showTime(now),
      started_at: showTime(activity.startedAt),
      workers: activity.workers,
      hashers: activity.hashers,
      totals: showResults(activity.totals),
      sessions: sessionCount ?? null,
      hash_queue: { waiting, capacity },
      revocation_lag_ms: activity.minutes.at(-1)?.revocationLagMs ?? 0,
      keys: keys?.map(showKey) ?? null,
      minutes: activity.minutes.map(showMinute)
    }
  })
}
export default overview

const showResults = ({ login, refresh, verify }: Activity['results']) => ({
  logins: login,
  refreshes: refresh,
  verifications: verify
})

const showMinute = ({ at, results, durations, errors, hashQueue, revocationLagMs }: ActivityMinute) => ({
  at: showTime(at),
  ...showResults(results),
  errors,
  latency_ms: {
    login: showLatency(durations.login),
    refresh: showLatency(durations.refresh),
    verify: showLatency(durations.verify)
  },
  hash_queue: hashQueue,
  revocation_lag_ms: revocationLagMs
})

const showLatency = (counts: readonly number[]) => ({
  p50: milliseconds(quantileOf(counts, 0.5)),
  p99: milliseconds(quantileOf(counts, 0.99))
})

/** To a hundredth. */
const milliseconds = (seconds: number | undefined): number | null =>
  seconds === undefined ? null : Math.round(seconds * 100_000) / 100

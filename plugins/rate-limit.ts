import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { makeAddressSet, networkOf } from '../src/addresses.ts'
import type { Config, Rate } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { type Count, makeOwnCounters } from '../src/limits/counters.ts'
import { type Limit, type Limiter, makeLimiter } from '../src/limits/limiter.ts'

type LimitName = 'obtain' | 'refresh' | 'verify' | 'introspect'

/** The value of a route's `config.rateLimit`: `max` requests from one address in `timeWindow` milliseconds, or no limit. */
type RouteLimit =
  | { readonly name: LimitName; readonly max: number; readonly timeWindow: number; readonly isClosed: boolean }
  | false

export type RateLimits = Readonly<Record<LimitName, RouteLimit>>

/**
 * Limits requests by address, or for IPv6 by /64. They are counted in Redis if it is configured, otherwise in the process
 * (src/limits/limiter.ts). A route takes its limit from `app.rateLimits`; requests to a route without a limit are not counted.
 * Routes with the same limit share it.
 */
async function rateLimits(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const limiter = makeLimiter(app.stores.counters, makeOwnCounters(), (error) => reportOutage(app, error))
  const isFree = makeAddressSet(config.rateLimitAllow)
  await app.register(rateLimit, {
    global: false,
    // The store gets the request itself, to leave the count for the header fields.
    keyGenerator: (request) => request as never,
    addHeaders: noFields,
    addHeadersOnExceeding: noFields,
    allowList: ({ ip }: FastifyRequest) => isFree(ip),
    store: storeFor(limiter) as never,
    errorResponseBuilder: (_request, { ttl }) => throttled(ttl / 1000)
  })
  const limit = (name: LimitName, rate: Rate): RouteLimit => {
    const isClosed = config.rateLimitFailClosed.includes(name)
    return rate === null ? false : { name, max: rate.requests, timeWindow: rate.window * 1000, isClosed }
  }
  app.decorate('rateLimits', {
    obtain: limit('obtain', config.rateLimitObtain),
    refresh: limit('refresh', config.rateLimitRefresh),
    verify: limit('verify', config.rateLimitVerify),
    introspect: limit('introspect', config.rateLimitIntrospect)
  })
  app.decorateRequest('quota', undefined)
  app.decorate('limiter', limiter)
  app.decorate('isUnlimited', (request) => isFree(request.ip))
  app.addHook('onRoute', (route) => {
    const applied = route.config?.rateLimit as RouteLimit | undefined
    if (!applied) return
    route.onSend = [route.onSend ?? [], reportQuota(applied)].flat()
  })
}

/** The package's own fields are those of an older draft. */
const noFields = {
  'x-ratelimit-limit': false,
  'x-ratelimit-remaining': false,
  'x-ratelimit-reset': false,
  'retry-after': false
}

/** The network by which requests are counted; empty once the client has closed the connection. */
export const callerNetwork = ({ ip = '' }: Pick<FastifyRequest, 'ip'>): string => networkOf(ip)

/** A refusal for `left` seconds, rounded up, so that a client that waits for this time does not return too early. */
export function throttled(left: number): KeyturnError {
  const seconds = Math.max(1, Math.ceil(left))
  return new KeyturnError('RATE_LIMITED', { detail: String(seconds), retryAfter: seconds })
}

/**
 * A store in the form that @fastify/rate-limit expects: a class, of which it creates one instance and a child for each limit.
 * The package's own Redis store does not provide what docs/limits.md promises:
 *
 * - It counts by route, so the endpoints that accept a password would allow several times as many guesses.
 * - While Redis is down, it refuses every request or counts none (`skipOnError`), and each request waits for its own time-out.
 *   This store counts in the process, or fails closed if so configured, and one request per second waits
 *   (src/stores/circuit.ts).
 * - A refused request costs Redis nearly as much as an admitted one, 13 µs of its CPU time and three commands. This store
 *   refuses from memory, without a command, so a flood of refused requests does not slow down the sessions in the same Redis.
 *   In return, it costs the worker 12 µs per request (bench/rate-limit.ts, bench/results.md).
 */
function storeFor(limiter: Limiter) {
  return class Store {
    readonly #name: string
    readonly #limit: Limit

    constructor({ name, max, timeWindow, isClosed }: Exclude<RouteLimit, false>) {
      this.#name = name
      this.#limit = { max, window: timeWindow / 1000, isClosed }
    }

    incr(request: FastifyRequest, done: (error: unknown, result?: { current: number; ttl: number }) => void): void {
      limiter.count(`${this.#name}:${callerNetwork(request)}`, this.#limit).then((count) => {
        request.quota = count
        done(null, { current: count.number, ttl: count.left * 1000 })
      }, done)
    }

    child(limit: Exclude<RouteLimit, false>): Store {
      return new Store(limit)
    }
  }
}

function reportOutage(app: FastifyInstance, error: unknown): void {
  if (error === undefined) app.log.info('Redis counts requests again')
  else
    app.log.warn(
      { err: error },
      'Redis does not count requests; limits in RATE_LIMIT_FAIL_CLOSED refuse, the others are those of this worker'
    )
}

/** Reports the remaining quota. Source: draft-ietf-httpapi-ratelimit-headers-10 §3 and §4. */
const reportQuota = ({ name, max, timeWindow }: Exclude<RouteLimit, false>): onSendHookHandler => {
  const policy = `"${name}";q=${max};w=${timeWindow / 1000}`
  return ({ quota }, reply, payload, done) => {
    if (quota !== undefined) {
      reply.header('ratelimit-policy', policy)
      reply.header('ratelimit', `"${name}";r=${Math.max(0, max - quota.number)};t=${Math.ceil(quota.left)}`)
    }
    done(null, payload)
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    rateLimits: RateLimits
    /** For limits on less than a whole endpoint. */
    limiter: Limiter
    /** Whether the request comes from an address that is exempt from all limits. */
    isUnlimited(request: FastifyRequest): boolean
  }
  interface FastifyRequest {
    /** The count of the limit that its route has. */
    quota: Count | undefined
  }
}

export default fp(rateLimits, { name: 'rate-limit', dependencies: ['errors', 'stores'] })

import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { makeAddressSet, networkOf } from '../src/addresses.ts'
import type { Config, Rate } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { type Count, makeOwnCounters } from '../src/limits/counters.ts'
import { type Limit, type Limiter, makeLimiter } from '../src/limits/limiter.ts'

type LimitName = 'obtain' | 'refresh' | 'verify' | 'introspect'

/** What a route puts into its `config.rateLimit`: so many requests from one address, in milliseconds, or no limit at all. */
type RouteLimit =
  | { readonly name: LimitName; readonly max: number; readonly timeWindow: number; readonly isClosed: boolean }
  | false

export type RateLimits = Readonly<Record<LimitName, RouteLimit>>

/**
 * Limits requests by address, of IPv6 by its /64: counted in Redis where there is one, otherwise in the process
 * (src/limits/limiter.ts). A route takes its limit from `app.rateLimits`; a route that takes none has none, and does not count.
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
export const clientNetwork = ({ ip = '' }: Pick<FastifyRequest, 'ip'>): string => networkOf(ip)

/** A refusal for so many seconds, rounded up, or a client that waits for as long would come too early. */
export function throttled(left: number): KeyturnError {
  const seconds = Math.max(1, Math.ceil(left))
  return new KeyturnError('RATE_LIMITED', { detail: String(seconds), retryAfter: seconds })
}

/**
 * A store as @fastify/rate-limit takes it: a class, of which it makes one for itself and a child for each limit. Its own Redis
 * store does not do what docs/limits.md promises:
 *
 * - It counts by route. The three endpoints that take a password would allow three times as many guesses.
 * - While Redis is away it refuses every request, or counts none (`skipOnError`), and each waits for a time-out of its own.
 *   Ours counts alone, or fails closed where the operator says so, and waits once a second (src/stores/circuit.ts).
 * - A refused request costs Redis nearly as much as an admitted one, 13 µs of its CPU and three commands. Ours is refused from
 *   memory, with none, so a flood of refused requests does not slow down the sessions in the same Redis. That costs the worker
 *   12 µs a request (bench/rate-limit.ts, bench/results.md).
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
      limiter.count(`${this.#name}:${clientNetwork(request)}`, this.#limit).then((count) => {
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
  if (error === undefined) app.log.info('all workers count rate limits together again')
  else app.log.warn({ err: error }, 'Redis does not count; rate limits are closed or of this worker alone')
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

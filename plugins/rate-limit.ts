import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { makeAddressSet, networkOf } from '../src/addresses.ts'
import type { Config, Rate } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import { makeOwnCounters } from '../src/limits/counters.ts'
import { type Limit, type Limiter, makeLimiter } from '../src/limits/limiter.ts'

type LimitName = 'obtain' | 'refresh' | 'verify' | 'introspect'

/** What a route puts into its `config.rateLimit`: so many requests from one address, in milliseconds, or no limit at all. */
type RouteLimit =
  | { readonly name: LimitName; readonly max: number; readonly timeWindow: number; readonly isClosed: boolean }
  | false

export type RateLimits = Readonly<Record<LimitName, RouteLimit>>

/**
 * Limits requests by address, of IPv6 by its /64: counted in Redis where there is one, otherwise in the process
 * (src/limits/limiter.ts). A route takes its limit from `app.rateLimits`; a route that takes none has none, and asks nobody.
 * Doors with the same limit share what there is of it.
 */
async function rateLimits(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const limiter = makeLimiter(app.stores.counters, makeOwnCounters(), (error) => reportOutage(app, error))
  const isFree = makeAddressSet(config.rateLimitAllow)
  await app.register(rateLimit, {
    global: false,
    keyGenerator: clientNetwork,
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
  app.decorate('limiter', limiter)
  app.decorate('isUnlimited', (request) => isFree(request.ip))
  app.addHook('onRoute', (route) => {
    const applied = route.config?.rateLimit as RouteLimit | undefined
    if (!applied) return
    const tell: onSendHookHandler = (_request, reply, payload, done) => {
      if (reply.hasHeader('x-ratelimit-limit')) tellLimit(reply, applied)
      done(null, payload)
    }
    route.onSend = [route.onSend ?? [], tell].flat()
  })
}

/** The network that is counted. It is empty once the client has closed the connection. */
export const clientNetwork = ({ ip = '' }: Pick<FastifyRequest, 'ip'>): string => networkOf(ip)

/** A refusal for so many seconds: rounded up, or whoever waits for as long comes too early. */
export function throttled(left: number): KeyturnError {
  const seconds = Math.max(1, Math.ceil(left))
  return new KeyturnError('RATE_LIMITED', { detail: String(seconds), retryAfter: seconds })
}

/** What the plugin calls a store: a class, of which it makes one for itself and a child for each limit. */
function storeFor(limiter: Limiter) {
  return class Store {
    readonly #name: string
    readonly #limit: Limit

    constructor({ name, max, timeWindow, isClosed }: Exclude<RouteLimit, false>) {
      this.#name = name
      this.#limit = { max, window: timeWindow / 1000, isClosed }
    }

    incr(address: string, done: (error: unknown, result?: { current: number; ttl: number }) => void): void {
      limiter
        .count(`${this.#name}:${address}`, this.#limit)
        .then(({ number, left }) => done(null, { current: number, ttl: left * 1000 }), done)
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

/**
 * What is left of a limit, for clients that would rather not run into it: in the fields that a standard is coming to, instead of
 * the plugin's own. Source: draft-ietf-httpapi-ratelimit-headers-10 §3 and §4.
 */
function tellLimit(reply: FastifyReply, { name, max, timeWindow }: Exclude<RouteLimit, false>): void {
  const { 'x-ratelimit-remaining': left, 'x-ratelimit-reset': reset } = reply.getHeaders()
  for (const field of ['limit', 'remaining', 'reset']) reply.removeHeader(`x-ratelimit-${field}`)
  reply.header('ratelimit-policy', `"${name}";q=${max};w=${timeWindow / 1000}`)
  reply.header('ratelimit', `"${name}";r=${left};t=${reset}`)
}

declare module 'fastify' {
  interface FastifyInstance {
    rateLimits: RateLimits
    /** For limits that no door has as a whole. */
    limiter: Limiter
    /** Whether the request comes from an address that no limit is for. */
    isUnlimited(request: FastifyRequest): boolean
  }
}

export default fp(rateLimits, { name: 'rate-limit', dependencies: ['errors', 'stores'] })

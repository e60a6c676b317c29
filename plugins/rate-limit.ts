import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config, Rate } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'

/** What a route puts into its `config.rateLimit`: so many requests from one address, or no limit at all. */
type Limit = { readonly max: number; readonly timeWindow: number } | false

export interface RateLimits {
  readonly obtain: Limit
  readonly refresh: Limit
  readonly verify: Limit
  readonly introspect: Limit
}

/**
 * Limits requests by address (IPv6 by its /64), counted in the process: no call to a store for it. A route takes its limit
 * from `app.rateLimits`; a route that takes none has none.
 */
async function rateLimits(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    errorResponseBuilder: (_request, { ttl }) => {
      const seconds = Math.max(1, Math.ceil(ttl / 1000))
      return new KeyturnError('RATE_LIMITED', { detail: String(seconds), retryAfter: seconds })
    }
  })
  const limit = (rate: Rate): Limit => (rate === null ? false : { max: rate.requests, timeWindow: rate.window * 1000 })
  app.decorate('rateLimits', {
    obtain: limit(config.rateLimitObtain),
    refresh: limit(config.rateLimitRefresh),
    verify: limit(config.rateLimitVerify),
    introspect: limit(config.rateLimitIntrospect)
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    rateLimits: RateLimits
  }
}

export default fp(rateLimits, { name: 'rate-limit', dependencies: ['errors'] })

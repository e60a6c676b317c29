import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import type { Config, Rate } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'

/** What a route puts into its `config.rateLimit`: so many requests from one address, or no limit at all. */
type Limit = { readonly name: keyof RateLimits; readonly max: number; readonly timeWindow: number } | false

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
  const limit = (name: keyof RateLimits, rate: Rate): Limit =>
    rate === null ? false : { name, max: rate.requests, timeWindow: rate.window * 1000 }
  app.decorate('rateLimits', {
    obtain: limit('obtain', config.rateLimitObtain),
    refresh: limit('refresh', config.rateLimitRefresh),
    verify: limit('verify', config.rateLimitVerify),
    introspect: limit('introspect', config.rateLimitIntrospect)
  })
  app.addHook('onSend', async (request, reply) => {
    const applied = request.routeOptions.config.rateLimit as Limit | undefined
    if (applied && reply.hasHeader('x-ratelimit-limit')) tellLimit(reply, applied)
  })
}

/**
 * What is left of a limit, for clients that would rather not run into it: in the fields that a standard is coming to, instead of
 * the plugin's own. Source: draft-ietf-httpapi-ratelimit-headers-10 §3 and §4.
 */
function tellLimit(reply: FastifyReply, { name, max, timeWindow }: Exclude<Limit, false>): void {
  const { 'x-ratelimit-remaining': left, 'x-ratelimit-reset': reset } = reply.getHeaders()
  for (const field of ['limit', 'remaining', 'reset']) reply.removeHeader(`x-ratelimit-${field}`)
  reply.header('ratelimit-policy', `"${name}";q=${max};w=${timeWindow / 1000}`)
  reply.header('ratelimit', `"${name}";r=${left};t=${reset}`)
}

declare module 'fastify' {
  interface FastifyInstance {
    rateLimits: RateLimits
  }
}

export default fp(rateLimits, { name: 'rate-limit', dependencies: ['errors'] })

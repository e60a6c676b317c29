import fastifyCors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { parseOrigin } from '../src/origins.ts'

/**
 * Lets pages of other origins call us and read our answers: those of CORS_ORIGINS, which bear their tokens themselves, and those
 * of COOKIE_ORIGINS in cookie mode, with their cookie. For all others a browser keeps the answer to itself; a request without
 * Origin is not concerned.
 */
async function cors(app: FastifyInstance, { config }: { readonly config: Config }): Promise<void> {
  const withCookie = new Set(config.cookieMode ? config.cookieOrigins : [])
  const allowed = new Set([...withCookie, ...config.corsOrigins])
  if (allowed.size === 0) return
  const common: FastifyCorsOptions = {
    methods: ['GET', 'POST', 'DELETE'],
    exposedHeaders: ['www-authenticate', 'retry-after', 'ratelimit', 'ratelimit-policy', 'x-request-id'],
    maxAge: 600,
    strictPreflight: false
  }
  await app.register(fastifyCors, {
    delegator: async ({ headers: { origin } }: FastifyRequest) => {
      const page = parseOrigin(origin ?? '') ?? ''
      return { ...common, origin: allowed.has(page) ? (origin ?? false) : false, credentials: withCookie.has(page) }
    }
  })
}

export default fp(cors, { name: 'cors', dependencies: ['errors'] })

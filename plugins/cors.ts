import fastifyCors, { type FastifyCorsOptions } from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { parseOrigin } from '../src/origins.ts'

/**
 * Lets pages of other origins call the service and read its responses: CORS_ORIGINS, which send their tokens themselves, and in
 * cookie mode COOKIE_ORIGINS, with their cookie. The browser hides responses from all others; a request without Origin is not
 * affected.
 */
async function cors(app: FastifyInstance, { config }: { readonly config: Config }): Promise<void> {
  const withCookie = new Set(config.cookieMode ? config.cookieOrigins : [])
  const allowed = new Set([...withCookie, ...config.corsOrigins])
  if (allowed.size === 0) return
  const common: FastifyCorsOptions = {
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
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

import fastifyCors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'

/**
 * Lets pages of other origins read our answers: those of COOKIE_ORIGINS in cookie mode, with their cookie. For all others a
 * browser keeps the answer to itself; a request without Origin is not concerned.
 */
async function cors(app: FastifyInstance, { config }: { readonly config: Config }): Promise<void> {
  const origins = config.cookieMode ? config.cookieOrigins : []
  if (origins.length === 0) return
  await app.register(fastifyCors, {
    origin: [...origins],
    credentials: true,
    methods: ['GET', 'POST', 'DELETE'],
    exposedHeaders: ['www-authenticate', 'retry-after', 'x-request-id'],
    maxAge: 600,
    strictPreflight: false
  })
}

export default fp(cors, { name: 'cors', dependencies: ['negotiation'] })

import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Security headers of every response: a browser must not run it, frame it, or load it from pages of other origins (a page that
 * CORS allows may still read it). As in helmet, without what only documents need. No Strict-Transport-Security: only the host
 * that terminates TLS knows whether all hosts of its domain have TLS, and a proxy may pass on our forward-auth response as its
 * own.
 * Source: OWASP REST Security Cheat Sheet, "Security Headers".
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
}

/** A route that serves pages sets its own. */
async function headers(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', function setSecurityHeaders(_request, reply, done) {
    reply.headers(securityHeaders)
    done()
  })
}

export default fp(headers, { name: 'headers' })

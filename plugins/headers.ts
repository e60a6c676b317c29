import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/**
 * What every answer tells a browser, should one ever show it: it is data, and nothing in it may run, be framed, or be
 * loaded by pages elsewhere (a page that CORS lets in may still read it). As helmet would have it, without what only
 * documents need. No Strict-Transport-Security: whether all hosts of a domain have TLS is known where TLS ends, and a
 * proxy that asks forward-auth may hand our refusal on in its own name.
 * Source: OWASP REST Security Cheat Sheet, "Security Headers".
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
}

/** A route that serves pages says otherwise itself. */
async function headers(app: FastifyInstance): Promise<void> {
  app.addHook('onRequest', function setSecurityHeaders(_request, reply, done) {
    reply.headers(securityHeaders)
    done()
  })
}

export default fp(headers, { name: 'headers' })

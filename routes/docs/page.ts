import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'

/**
 * What the page may do: run its own scripts and ask this service, and nothing else. The package's own `staticCSP: true` would
 * let in styles and pictures from elsewhere, and turn http into https, which a service without TLS does not speak.
 */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  // Its icons are in its style sheet.
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join('; ')

/**
 * GET /docs: a page to read the OpenAPI document and to try the doors, by Swagger UI from files of its own. Tokens that are typed in
 * stay in the page's memory and are gone with it.
 */
export default async function page(app: FastifyInstance): Promise<void> {
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: policy,
    theme: { title: 'Keyturn' },
    // Without the bar that would show documents of other services: the policy lets none in.
    uiConfig: { layout: 'BaseLayout', tryItOutEnabled: true, displayRequestDuration: true, persistAuthorization: false }
  })
}

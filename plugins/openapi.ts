import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type FastifySchema, type RouteOptions } from 'fastify'
import { fields } from './fields.ts'
import { version } from '../src/version.ts'

type Transform = NonNullable<FastifyDynamicSwaggerOptions['transform']>

/** The parts of the document that are rewritten. */
interface Document {
  readonly paths: Readonly<Record<string, Record<string, Operation>>>
  readonly components: { schemas: Record<string, Schema>; headers?: Record<string, object> }
}
interface Operation {
  readonly requestBody?: Content
  readonly responses: Readonly<Record<string, Content & { headers?: Record<string, object> }>>
}
interface Content {
  readonly content?: Readonly<Record<string, { schema: Schema }>>
}
type Schema = { readonly title?: string; description?: string }

const about: NonNullable<FastifyDynamicSwaggerOptions['openapi']> = {
  openapi: '3.1.1',
  info: {
    title: 'Keyturn',
    version,
    description:
      'Issues, refreshes, verifies and revokes access and refresh tokens. Error messages are those of Simple JWT; ' +
      'docs/errors.md explains the codes in the descriptions of error responses.',
    license: { name: 'MIT', identifier: 'MIT' }
  },
  servers: [{ url: '/', description: 'This service' }],
  tags: [
    { name: 'token', description: 'Log in, and refresh, verify and revoke tokens' },
    { name: 'sessions', description: 'Sessions and password of the authenticated user' },
    { name: 'oauth', description: 'OAuth endpoints for services, which authenticate as clients' },
    { name: 'keys', description: 'Public keys for services that verify access tokens locally' },
    { name: 'management', description: 'Users, sessions, keys and clients, for operators and other services' },
    { name: 'ops', description: 'Health and metrics for operators' }
  ],
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token' },
      clientBasic: { type: 'http', scheme: 'basic', description: 'client_id and client_secret (RFC 6749 §2.3.1)' },
      metricsToken: { type: 'http', scheme: 'bearer', description: 'The value of METRICS_TOKEN' }
    }
  }
}

/** Headers of every response, and of responses of endpoints with a rate limit (plugins/requests.ts, plugins/rate-limit.ts). */
const always = { 'X-Request-ID': { type: 'string', description: 'Id of the request in the log' } }
const limited = {
  RateLimit: {
    type: 'string',
    description: 'Remaining requests, and seconds until the limit resets: "obtain";r=18;t=42'
  },
  'RateLimit-Policy': {
    type: 'string',
    description: 'Allowed requests, and length of the window in seconds: "obtain";q=20;w=60'
  }
}

/**
 * The page may only run its own scripts and call this service. The package's own `staticCSP: true` would allow styles and images
 * from other hosts, and upgrade http to https, which a service without TLS does not serve.
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
 * An application that serves the OpenAPI 3.1 document of `endpoints`, generated from their schemas, at /openapi.json, for pages of
 * every origin; and at /docs a Swagger UI page from local files, to read it and try the endpoints. Tokens that are entered stay
 * in the page's memory.
 */
export async function describe(endpoints: readonly RouteOptions[]): Promise<FastifyInstance> {
  const app = Fastify({
    schemaController: fields,
    routerOptions: { ignoreTrailingSlash: true },
    exposeHeadRoutes: false
  })
  await app.register(swagger, {
    openapi: about,
    hideUntagged: true,
    convertConstToEnum: false,
    transform: (({ schema, url, route }) => ({
      schema: complete(schema ?? { hide: true }, route),
      url: url.startsWith('/api/') ? `${url}/` : url
    })) as Transform,
    transformObject: (document) => {
      if ('openapiObject' in document) tidy(document.openapiObject as unknown as Document)
      return 'openapiObject' in document ? document.openapiObject : document.swaggerObject
    }
  })
  for (const { url, method, schema, config = {} } of endpoints) {
    if (schema?.tags !== undefined) app.route({ url, method, schema, config, handler() {} })
  }
  let text: string | undefined
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger())
    return reply.header('access-control-allow-origin', '*').type('application/json').send(text)
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: policy,
    theme: { title: 'Keyturn' },
    // Without the top bar, which could load documents of other services: the policy forbids that.
    uiConfig: { layout: 'BaseLayout', tryItOutEnabled: true, displayRequestDuration: true, persistAuthorization: false }
  })
  await app.ready()
  return app
}

/** The schema of a route with the parts that all routes share. */
function complete(schema: FastifySchema, { config }: RouteOptions): FastifySchema {
  const headers = { ...always, ...(config?.rateLimit ? limited : {}) }
  const responses = Object.entries(schema.response ?? {}).map(([status, response]) => [
    status,
    { ...response, headers: { ...response.headers, ...headers } }
  ])
  return {
    operationId: nameOf(schema.summary ?? ''),
    // No authentication unless the route declares one.
    security: [],
    ...(schema.body === undefined ? {} : { consumes: ['application/json', 'application/x-www-form-urlencoded'] }),
    ...schema,
    response: Object.fromEntries(responses)
  }
}

/** 'OAuth Token' as oauthToken. */
function nameOf(summary: string): string {
  const [first = '', ...others] = summary.split(' ')
  return [first.toLowerCase(), ...others].join('')
}

/** Moves repeated parts into components: schemas with a title, and all headers. */
function tidy({ paths, components }: Document): void {
  const headers: Record<string, object> = {}
  components.headers = headers
  for (const item of Object.values(paths)) {
    for (const { requestBody, responses } of Object.values(item)) {
      for (const { content = {} } of [...Object.values(responses), ...(requestBody === undefined ? [] : [requestBody])])
        for (const media of Object.values(content)) media.schema = named(media.schema, components.schemas)
      for (const response of Object.values(responses))
        for (const [name, header] of Object.entries(response.headers ?? {})) {
          headers[name] = header
          Object.assign(response.headers ?? {}, { [name]: { $ref: `#/components/headers/${name}` } })
        }
    }
  }
}

function named(schema: Schema, schemas: Record<string, Schema>): Schema {
  if (schema.title === undefined) return schema
  schemas[schema.title] ??= schema
  return { $ref: `#/components/schemas/${schema.title}` } as Schema
}

import { readFileSync } from 'node:fs'
import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type FastifySchema, type RouteOptions } from 'fastify'
import { fields } from './fields.ts'

type Transform = NonNullable<FastifyDynamicSwaggerOptions['transform']>

/** The parts of the document that are worked on. */
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

const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve('#package')), 'utf8'))

const about: NonNullable<FastifyDynamicSwaggerOptions['openapi']> = {
  openapi: '3.1.1',
  info: {
    title: 'Keyturn',
    version,
    description:
      'Access and refresh tokens: obtain, refresh, verify, end. Refusals have the words of Simple JWT; the codes in ' +
      'their descriptions are explained in docs/errors.md.',
    license: { name: 'MIT', identifier: 'MIT' }
  },
  servers: [{ url: '/', description: 'This service' }],
  tags: [
    { name: 'token', description: 'Logins, and the tokens that come of them' },
    { name: 'sessions', description: 'What users may do with their own access token' },
    { name: 'oauth', description: 'For other services, which authenticate as clients' },
    { name: 'keys', description: 'For whoever checks access tokens without asking' },
    { name: 'ops', description: 'For whoever runs it' }
  ],
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token' },
      clientBasic: { type: 'http', scheme: 'basic', description: 'Name and secret of a client (RFC 6749 §2.3.1)' },
      metricsToken: { type: 'http', scheme: 'bearer', description: 'METRICS_TOKEN' }
    }
  }
}

/** What every answer carries, and every answer of a door with a rate limit (plugins/requests.ts, plugins/rate-limit.ts). */
const always = { 'X-Request-ID': { type: 'string', description: 'Names the request in the log' } }
const limited = {
  RateLimit: { type: 'string', description: 'What is left: requests and seconds, as "obtain";r=18;t=42' },
  'RateLimit-Policy': { type: 'string', description: 'The limit: requests and seconds, as "obtain";q=20;w=60' }
}

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
 * An application that serves the OpenAPI 3.1 document of `doors`, made from their schemas, at /openapi.json, readable by tools in
 * pages of every origin; and at /docs a page to read it and to try the doors, by Swagger UI from files of its own. Tokens that
 * are typed in stay in the page's memory and are gone with it.
 */
export async function describe(doors: readonly RouteOptions[]): Promise<FastifyInstance> {
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
  for (const { url, method, schema, config = {} } of doors) {
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
    // Without the bar that would show documents of other services: the policy lets none in.
    uiConfig: { layout: 'BaseLayout', tryItOutEnabled: true, displayRequestDuration: true, persistAuthorization: false }
  })
  await app.ready()
  return app
}

/** A route's schema with what it need not say itself. */
function complete(schema: FastifySchema, { config }: RouteOptions): FastifySchema {
  const headers = { ...always, ...(config?.rateLimit ? limited : {}) }
  const responses = Object.entries(schema.response ?? {}).map(([status, response]) => [
    status,
    { ...response, headers: { ...response.headers, ...headers } }
  ])
  return {
    operationId: nameOf(schema.summary ?? ''),
    // None is wanted unless the route names one.
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

/** Says each thing once: schemas with a title and all headers are named. */
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

import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { KeyturnError } from '../src/errors.ts'
import { aSessionId } from './schemas/bodies.ts'
import { refusals, wrongQuery } from './schemas/errors.ts'

/** What a client needs to be allowed. */
const scope = 'keyturn.revocations'

const events = 'text/event-stream'

const seconds = { type: 'integer', description: 'Whole seconds since 1970' }
const aCursor = '1795320298.1795320301123-0'

const RevocationPage = {
  title: 'RevocationPage',
  description: 'The revocations after the cursor, at most 1,000',
  type: 'object',
  required: ['cursor', 'reset', 'caught_up', 'revoked', 'epoch', 'lost_before', 'window', 'age', 'now'],
  properties: {
    cursor: { type: 'string', description: 'The `after` of the next request' },
    reset: { type: 'boolean', description: 'Whether the cursor sent is not known, and this is the first page of all' },
    caught_up: { type: 'boolean', description: 'Whether there is nothing after this page yet' },
    revoked: {
      type: 'array',
      items: {
        type: 'object',
        required: ['until'],
        properties: {
          sid: { type: 'string', description: 'A session: all its access tokens are revoked' },
          jti: { type: 'string', description: 'One access token' },
          until: { ...seconds, description: 'When the entry may be forgotten' }
        }
      }
    },
    epoch: { ...seconds, description: 'When the list began' },
    lost_before: {
      type: ['integer', 'null'],
      description: 'Access tokens issued before this second are to be refused; null: none'
    },
    window: { type: 'integer', description: 'How long an entry matters, in seconds' },
    age: { type: 'integer', description: 'Milliseconds since the service heard from its own store' },
    now: { ...seconds, description: 'The time of the service' }
  },
  examples: [
    {
      cursor: aCursor,
      reset: false,
      caught_up: true,
      revoked: [{ sid: aSessionId, until: 1795320661 }],
      epoch: 1795320298,
      lost_before: null,
      window: 360,
      age: 412,
      now: 1795320305
    }
  ]
}

const anEvent = `event: revoked\nid: ${aCursor}\ndata: [{"sid":"${aSessionId}","until":1795320661}]\n\n`

const Query = {
  type: 'object',
  properties: { after: { type: 'string', description: 'A cursor: what comes after it' } }
} as const

const schema = {
  tags: ['oauth'],
  summary: 'Revocation List',
  description:
    'What has been revoked within the lifetime of an access token, for services that verify tokens themselves: one page, or ' +
    'with Accept: text/event-stream a stream of the events revoked, caught-up, heartbeat and reset. Last-Event-ID, as an ' +
    `EventSource sends it, counts before the query. For clients with the scope ${scope}.`,
  security: [{ clientBasic: [] }],
  querystring: Query,
  response: {
    200: {
      description: 'A page, or the stream',
      content: {
        'application/json': { schema: RevocationPage },
        [events]: { schema: { type: 'string', examples: [anEvent] } }
      }
    },
    ...refusals(wrongQuery(Query), 'CLIENT_INVALID', 'SCOPE_MISSING', 429, 'BUSY', 'STORE_DOWN')
  }
} as const

/** The cursor of a request: an EventSource that connects again keeps its URL and sends a newer one in its header. */
function cursorOf({ headers, query }: FastifyRequest): string | undefined {
  const header = headers['last-event-id']
  return (typeof header === 'string' && header) || (query as { readonly after?: string }).after || undefined
}

/** A client that is deleted, or loses its scope, loses its streams. An outage of the database ends none. */
function isAllowed(app: FastifyInstance, id: string): boolean {
  try {
    return app.clients.find(id)?.scopes.includes(scope) === true
  } catch {
    return true
  }
}

/** GET /api/revocations/: what has been revoked, to services that verify tokens themselves. */
const revocations: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const options = {
    schema,
    config: { event: 'revocations' as const, alsoMakes: events },
    // A stream has no end that a HEAD could wait for.
    exposeHeadRoute: false,
    preValidation: app.authenticateClient
  }
  app.get('/api/revocations', options, async (request, reply) => {
    const { client, headers } = request
    if (!client.scopes.includes(scope)) throw new KeyturnError('SCOPE_MISSING')
    reply.header('cache-control', 'no-store')
    const cursor = cursorOf(request)
    if (headers.accept?.includes(events) !== true) return app.revocationStreams.page(cursor)
    const stream = app.revocationStreams.open(cursor, () => isAllowed(app, client.id))
    // The connection ends with its stream: nothing else would come over it, and a drain need not wait for it.
    reply.header('content-type', events).header('x-accel-buffering', 'no').header('connection', 'close')
    return reply.send(stream)
  })
}
export default revocations

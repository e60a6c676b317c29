import type { FastifyPluginAsyncJsonSchemaToTs } from '@fastify/type-provider-json-schema-to-ts'
import type { FastifyInstance } from 'fastify'
import type { Client } from '../src/clients/client.ts'
import { KeyturnError } from '../src/errors.ts'
import { aSessionId } from './schemas/bodies.ts'
import { refusals, wrongQuery } from './schemas/errors.ts'
import { anEventStream, lastEventId, sendEvents, streams, wantsEvents } from './schemas/events.ts'

/** The scope that a client needs. */
const scope = 'keyturn.revocations'

const seconds = { type: 'integer', description: 'Whole seconds since 1970' }
const aCursor = '1795320298.1795320301123-0'

const RevocationPage = {
  title: 'RevocationPage',
  description: 'The revocations after the cursor, at most 1,000',
  type: 'object',
  required: ['cursor', 'reset', 'caught_up', 'revoked', 'epoch', 'lost_before', 'window', 'age', 'now'],
  properties: {
    cursor: { type: 'string', description: 'The `after` of the next request' },
    reset: {
      type: 'boolean',
      description: 'Whether the cursor is unknown, so that this is the first page of a snapshot'
    },
    caught_up: { type: 'boolean', description: 'Whether there are no further entries yet' },
    revoked: {
      type: 'array',
      items: {
        type: 'object',
        required: ['until'],
        properties: {
          sid: { type: 'string', description: 'A session: all its access tokens are revoked' },
          jti: { type: 'string', description: 'One access token' },
          until: { ...seconds, description: 'When the entry may be discarded' }
        }
      }
    },
    epoch: { ...seconds, description: 'When the list began' },
    lost_before: {
      type: ['integer', 'null'],
      description: 'Refuse access tokens issued before this second; null: none'
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
  properties: { after: { type: 'string', description: 'Return the entries after this cursor' } }
} as const

const schema = {
  tags: ['oauth'],
  summary: 'Revocation List',
  description:
    'Returns what has been revoked within the lifetime of an access token, for services that verify tokens themselves: one ' +
    'page, or with Accept: text/event-stream, a stream of the events revoked, caught-up, heartbeat and reset. Last-Event-ID, ' +
    `as sent by an EventSource, takes precedence over the query. For clients with the scope ${scope}.`,
  security: [{ clientBasic: [] }],
  querystring: Query,
  response: {
    200: {
      description: 'A page, or the stream',
      content: {
        'application/json': { schema: RevocationPage },
        ...anEventStream(anEvent)
      }
    },
    ...refusals(wrongQuery(Query), 'CLIENT_INVALID', 'SCOPE_MISSING', 429, 'BUSY', 'STORE_DOWN')
  }
} as const

/**
 * A client that is deleted, or loses its scope, loses its streams, even if another is created with its id. An outage of the
 * database ends none.
 */
function isAllowed(app: FastifyInstance, { id, createdAt }: Client): boolean {
  try {
    const current = app.clients.find(id)
    return current?.createdAt === createdAt && current.scopes.includes(scope)
  } catch {
    return true
  }
}

/** GET /api/revocations/: what has been revoked, to services that verify tokens themselves. */
const revocations: FastifyPluginAsyncJsonSchemaToTs = async (app) => {
  const config = { ...streams.config, event: 'revocations' as const }
  const options = { schema, config, preValidation: app.authenticateClient }
  app.get('/api/revocations', options, async (request, reply) => {
    const { client } = request
    if (!client.scopes.includes(scope)) throw new KeyturnError('SCOPE_MISSING')
    reply.header('cache-control', 'no-store')
    const cursor = lastEventId(request) ?? (request.query.after || undefined)
    if (!wantsEvents(request)) return app.revocationStreams.page(cursor)
    return sendEvents(request, reply, () => app.revocationStreams.open(cursor, () => isAllowed(app, client)))
  })
}
export default revocations

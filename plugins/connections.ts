import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyHttpOptions, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'

/** How long a connection may make no progress while a response is due, for example because the client does not read. Milliseconds. */
const maxStallMs = 60_000

/** How often connections are checked for requests that take too long, in milliseconds. */
const checkEvery = 1000

/** How often refused connections are logged, in milliseconds. */
const logEvery = 60_000

/** The time-outs of a connection, as Fastify and Node take them when the server is created. */
export const connectionLimits = ({ keepalive, requestTimeout }: Config) =>
  ({
    keepAliveTimeout: keepalive * 1000,
    requestTimeout: requestTimeout * 1000,
    connectionTimeout: maxStallMs,
    // plugins/protocol.ts refuses a request without Host, in our own format.
    http: { requireHostHeader: false, headersTimeout: requestTimeout * 1000, connectionsCheckingInterval: checkEvery }
  }) satisfies FastifyHttpOptions<Server>

/** Limits the connections of a worker and the requests per connection. */
async function connections(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const { server } = app
  server.maxConnections = config.maxConnections
  // Node silently drops header fields beyond 1,000, which may include the X-Forwarded-For that a proxy appended. The
  // limit is the 16 KiB of a header block.
  server.maxHeadersCount = 0
  let loggedAt = Number.NEGATIVE_INFINITY
  server.on('drop', () => {
    if (performance.now() - loggedAt < logEvery) return
    loggedAt = performance.now()
    app.log.warn(`connections refused: worker reached MAX_CONNECTIONS (${config.maxConnections})`)
  })
  if (config.keepaliveRequests > 0) closeAfter(app, config.keepaliveRequests)
}

/**
 * Answers the last request of a connection with Connection: close, so that the client knows before it sends another one, and
 * closes it. Node's own maxRequestsPerSocket announces the close but leaves the connection open, and answers pipelined
 * requests with 503.
 */
function closeAfter(app: FastifyInstance, maxRequests: number): void {
  const counts = new WeakMap<Socket, number>()
  app.decorateRequest('isLast', false)
  app.addHook('onRequest', function countRequest(request, _reply, done) {
    const { socket } = request.raw
    const count = (counts.get(socket) ?? 0) + 1
    counts.set(socket, count)
    request.isLast = count >= maxRequests
    done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.isLast) reply.header('connection', 'close')
    done(null, payload)
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether its connection has served KEEPALIVE_REQUESTS. */
    isLast: boolean
  }
}

export default fp(connections, { name: 'connections' })

import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyHttpOptions, FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'

/** How long a connection may stand still while an answer is due, as with a client that does not read it, in milliseconds. */
const longestStandstill = 60_000

/** How often connections are looked at for what has taken too long, in milliseconds. */
const look = 1000

/** How often it is told that connections were turned away, in milliseconds. */
const tellEvery = 60_000

/** What a connection may take of time, as Fastify and Node want to know it when the server is made. */
export const connectionLimits = ({ keepalive, requestTimeout }: Config) =>
  ({
    keepAliveTimeout: keepalive * 1000,
    requestTimeout: requestTimeout * 1000,
    connectionTimeout: longestStandstill,
    http: { headersTimeout: requestTimeout * 1000, connectionsCheckingInterval: look }
  }) satisfies FastifyHttpOptions<Server>

/** How many connections there may be, and how many requests on each. */
async function connections(app: FastifyInstance, { config }: { config: Config }): Promise<void> {
  const { server } = app
  server.maxConnections = config.maxConnections
  // Beyond 1,000 fields Node would leave out the rest without a word, and with it what a proxy has added at the end: its
  // X-Forwarded-For. The 16 KiB that it reads of a header block are the limit.
  server.maxHeadersCount = 0
  let toldAt = Number.NEGATIVE_INFINITY
  server.on('drop', () => {
    if (performance.now() - toldAt < tellEvery) return
    toldAt = performance.now()
    app.log.warn(`connections are turned away: this worker has ${config.maxConnections} already (MAX_CONNECTIONS)`)
  })
  if (config.keepaliveRequests > 0) closeAfter(app, config.keepaliveRequests)
}

/**
 * Answers the last request of a connection with Connection: close, so that its client knows before it sends another one, and
 * closes it. Node's own maxRequestsPerSocket says so and leaves it open, and answers what was sent ahead with 503.
 */
function closeAfter(app: FastifyInstance, most: number): void {
  const counts = new WeakMap<Socket, number>()
  app.decorateRequest('isLast', false)
  app.addHook('onRequest', (request, _reply, done) => {
    const { socket } = request.raw
    const count = (counts.get(socket) ?? 0) + 1
    counts.set(socket, count)
    request.isLast = count >= most
    done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.isLast) reply.header('connection', 'close')
    done(null, payload)
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether its connection has served as many requests as it may. */
    isLast: boolean
  }
}

export default fp(connections, { name: 'connections' })

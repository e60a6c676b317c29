import { Server as NetServer } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** How long idle connections are still served after a stop began, in milliseconds: a client may be writing just then. */
const linger = 1500

/**
 * `app.drain(graceMs)`: a stop that loses no request. No new connections; what is in flight or still comes on open ones is
 * answered, with Connection: close; idle connections close after a short linger; after `graceMs` the rest is cut; then the
 * plugins close what they opened.
 *
 * `app.close()` alone is no drain: it waits out the keep-alive of connections whose answer was in flight, and Node's own
 * http close cuts idle connections at once, under a client that is just writing to one.
 */
async function drain(app: FastifyInstance): Promise<void> {
  let cutAt = Number.POSITIVE_INFINITY
  let stopping: Promise<void> | undefined
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (stopping !== undefined) reply.header('connection', 'close')
    done(null, payload)
  })

  const stop = async (): Promise<void> => {
    const { server } = app
    const began = performance.now()
    // Stops accepting and no more: http.Server's own close would also cut idle connections.
    const closed = new Promise((resolve) => NetServer.prototype.close.call(server, resolve))
    const watch = setInterval(() => {
      const now = performance.now()
      if (now >= cutAt) server.closeAllConnections()
      else if (now - began >= linger) server.closeIdleConnections()
    }, 50)
    await closed
    clearInterval(watch)
    await app.close()
  }

  app.decorate('isDraining', () => stopping !== undefined)
  app.decorate('drain', (graceMs: number) => {
    cutAt = Math.min(cutAt, performance.now() + graceMs)
    stopping ??= stop()
    return stopping
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Resolves when everything is closed. Called again, it can only shorten the time: `graceMs` counts from then. */
    drain(graceMs: number): Promise<void>
    /** Whether a stop has begun. */
    isDraining(): boolean
  }
}

export default fp(drain, { name: 'drain' })

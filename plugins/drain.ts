import { Server as NetServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** How long idle connections are still served after a stop began, in milliseconds: a client may be writing just then. */
const linger = 1500

/** How often a stop looks how far it is, in milliseconds. */
const look = 50

/**
 * `app.drain(graceMs, delayMs)`: a stop that loses no request. No new connections; what is in flight or still comes on
 * open ones is answered, with Connection: close; idle connections close after a short linger; after `graceMs` the rest
 * is cut; then the plugins close what they opened. Before all that everything is served as ever for `delayMs`, only
 * that the service is no longer ready: whoever sends requests here needs time to notice.
 *
 * `app.close()` alone is no drain: it waits out the keep-alive of connections whose answer was in flight, and Node's
 * own http close cuts idle connections at once, under a client that is just writing to one.
 */
async function drain(app: FastifyInstance): Promise<void> {
  let beginAt = Number.POSITIVE_INFINITY
  let cutAt = Number.POSITIVE_INFINITY
  let stopping: Promise<void> | undefined
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (stopping !== undefined && performance.now() >= beginAt) reply.header('connection', 'close')
    done(null, payload)
  })

  const stop = async (): Promise<void> => {
    const { server } = app
    while (performance.now() < beginAt) await delay(Math.min(look, beginAt - performance.now()))
    const began = performance.now()
    // Stops accepting and no more: http.Server's own close would also cut idle connections.
    const closed = new Promise((resolve) => NetServer.prototype.close.call(server, resolve))
    if (app.management !== undefined) NetServer.prototype.close.call(app.management)
    const watch = setInterval(() => {
      const now = performance.now()
      if (now >= cutAt) server.closeAllConnections()
      else if (now - began >= linger) server.closeIdleConnections()
    }, look)
    await closed
    clearInterval(watch)
    await app.close()
  }

  app.decorate('isDraining', () => stopping !== undefined)
  app.decorate('drain', (graceMs: number, delayMs = 0) => {
    beginAt = Math.min(beginAt, performance.now() + delayMs)
    cutAt = Math.min(cutAt, performance.now() + delayMs + graceMs)
    stopping ??= stop()
    return stopping
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Resolves when everything is closed. Called again, it can only be quicker: both count from then. */
    drain(graceMs: number, delayMs?: number): Promise<void>
    /** Whether a stop has begun. */
    isDraining(): boolean
  }
}

export default fp(drain, { name: 'drain' })

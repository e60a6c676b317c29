import { Server as NetServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** How long idle connections are still served after a drain began, in milliseconds: a client may be writing just then. */
const linger = 1500

/** How often a drain checks its progress, in milliseconds. */
const checkEvery = 50

export interface DrainOptions {
  /** Milliseconds in which requests in flight may finish; connections that remain are then cut. */
  readonly graceMs: number
  /** Milliseconds before the drain begins, in which the service continues as before. */
  readonly delayMs?: number
  /**
   * Whether the whole service stops, so that this process is no longer ready. A worker that is only replaced stays ready: its
   * successors accept the next connection.
   */
  readonly isStop?: boolean
}

/**
 * `app.drain()` shuts down without losing a request. The server, like that of MANAGEMENT_PORT, accepts no new connections;
 * requests in flight, and those that still arrive on open connections, are answered with Connection: close; idle connections
 * are closed after a short linger; after `graceMs` the rest is cut; then the plugins close what they opened.
 *
 * `app.close()` alone does not drain: it waits for the keep-alive time-out of connections whose response was in flight, and the
 * close method of Node's HTTP server closes idle connections at once, although a client may be writing to one.
 */
async function drain(app: FastifyInstance): Promise<void> {
  let beginAt = Number.POSITIVE_INFINITY
  let cutAt = Number.POSITIVE_INFINITY
  let isStopping = false
  let drained: Promise<void> | undefined
  const begun: (() => void)[] = []
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (performance.now() >= beginAt) reply.header('connection', 'close')
    done(null, payload)
  })

  const run = async (): Promise<void> => {
    const servers = [app.server, ...(app.management === undefined ? [] : [app.management])]
    while (performance.now() < beginAt) await delay(Math.min(checkEvery, beginAt - performance.now()))
    for (const callback of begun) callback()
    const began = performance.now()
    // Only stops accepting connections: http.Server's own close method would also close idle ones.
    const closed = Promise.all(
      servers.map((server) => new Promise((resolve) => NetServer.prototype.close.call(server, resolve)))
    )
    const watch = setInterval(() => {
      const now = performance.now()
      for (const server of servers) {
        if (now >= cutAt) server.closeAllConnections()
        else if (now - began >= linger) server.closeIdleConnections()
      }
    }, checkEvery)
    await closed
    clearInterval(watch)
    await app.close()
  }

  app.decorate('isStopping', () => isStopping)
  app.decorate('onDrain', (callback: () => void) => void begun.push(callback))
  app.decorate('drain', ({ graceMs, delayMs = 0, isStop = false }: DrainOptions) => {
    beginAt = Math.min(beginAt, performance.now() + delayMs)
    cutAt = Math.min(cutAt, performance.now() + delayMs + graceMs)
    isStopping ||= isStop
    drained ??= run()
    return drained
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Resolves when everything is closed. A later call can only shorten the delay and the grace; both count from it. */
    drain(options: DrainOptions): Promise<void>
    /** Calls back when a drain begins, for responses that would otherwise last until they are cut. */
    onDrain(callback: () => void): void
    /** Whether the service is stopping, not only this process. */
    isStopping(): boolean
  }
}

export default fp(drain, { name: 'drain' })

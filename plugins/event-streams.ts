import type { FastifyInstance } from 'fastify'

/** How often streams are maintained, in milliseconds. */
const tickEvery = 1000

/** Streams of server-sent events: src/event-streams.ts. */
interface Streams {
  /** To be called every second. */
  tick(): unknown
  /** Ends all streams, and each that is opened from now on. */
  end(): void
}

/** Maintains the streams of a plugin until the application closes. They end when a drain begins, and do not delay it. */
export function superviseStreams(app: FastifyInstance, streams: Streams): void {
  const timer = setInterval(() => streams.tick(), tickEvery)
  timer.unref()
  app.onDrain(() => streams.end())
  app.addHook('preClose', (done) => {
    streams.end()
    done()
  })
  app.addHook('onClose', async () => clearInterval(timer))
}

import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { RevocationStreams } from '../src/sessions/revocation-streams.ts'
import { revocationWindow } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'
import { superviseStreams } from './event-streams.ts'

/**
 * How often the embedded feed is read while there are streams, in milliseconds. A read takes some 10 µs. The feed in Redis is
 * followed anyway.
 */
const pollEvery = 20

/** The streams of revocations to other services. */
async function revocationStreams(
  app: FastifyInstance,
  { config, clock }: { config: Config; clock: Clock }
): Promise<void> {
  const { revocations } = app
  const streams = new RevocationStreams(revocations, {
    window: revocationWindow(config),
    maxStreams: config.maxRevocationStreams,
    clock
  })
  app.decorate('revocationStreams', streams)
  superviseStreams(app, {
    tick() {
      streams.tick()
      app.tallies.streamsCut = streams.cut
    },
    end: () => streams.end()
  })
  if (config.redisUrl === undefined) pollFeed(app, streams)
  addMetrics(app, streams)
}

function pollFeed(app: FastifyInstance, streams: RevocationStreams): void {
  const timer = setInterval(() => streams.count > 0 && app.revocations.catchUp(), pollEvery)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
}

function addMetrics(app: FastifyInstance, streams: RevocationStreams): void {
  app.addGauge({
    name: 'keyturn_revocation_streams',
    help: 'Open revocation streams',
    aggregator: 'sum',
    read: () => streams.count
  })
  app.addGauge({
    name: 'keyturn_revocation_stream_lag',
    help: 'Revocations that the slowest stream has not been sent yet',
    aggregator: 'max',
    read: () => streams.lag
  })
  app.addGauge({
    name: 'keyturn_revocation_feed_age_seconds',
    help: 'Seconds since a worker heard from the revocation feed',
    aggregator: 'max',
    read: () => app.revocations.ageMs() / 1000
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    revocationStreams: RevocationStreams
  }
}

export default fp(revocationStreams, { name: 'revocation-streams', dependencies: ['sessions', 'drain', 'metrics'] })

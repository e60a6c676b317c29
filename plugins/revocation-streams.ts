import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { RevocationStreams } from '../src/sessions/revocation-streams.ts'
import { revocationWindow } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'

/** How often the streams are looked after, in milliseconds. */
const tickEvery = 1000

/** How often the embedded feed is read while there are streams, in milliseconds: some 10 µs each. The feed in Redis comes by itself. */
const pollEvery = 20

/** The streams of revocations to other services. They end when a drain begins, and do not hold it up. */
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
  const tick = (): void => {
    streams.tick()
    app.tallies.streamsCut = streams.cut
  }
  const timers = [setInterval(tick, tickEvery)]
  if (config.redisUrl === undefined)
    timers.push(setInterval(() => streams.count > 0 && revocations.catchUp(), pollEvery))
  for (const timer of timers) timer.unref()
  app.decorate('revocationStreams', streams)
  app.onDrain(() => streams.end())
  app.addHook('preClose', (done) => {
    streams.end()
    done()
  })
  app.addHook('onClose', async () => {
    for (const timer of timers) clearInterval(timer)
  })
  addMetrics(app, streams)
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

import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { RevocationReplica, type Revocations } from '../src/sessions/revocations.ts'
import { revocationWindow } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'

/** This worker's replica of the revocation list: loaded before the first request, followed until the last. */
async function sessions(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const limits = { window: revocationWindow(config), staleness: config.revocationStaleness }
  const revocations = new RevocationReplica(limits, clock)
  const follower = await app.stores.feed.follow(revocations)
  app.decorate('revocations', revocations)
  app.addHook('onClose', () => follower.close())
}

declare module 'fastify' {
  interface FastifyInstance {
    revocations: Revocations
  }
}

export default fp(sessions, { name: 'sessions', dependencies: ['stores'] })

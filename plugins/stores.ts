import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { openStores, type Stores } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'

/** Opens the stores, and closes them after the last request. */
async function stores(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const opened = await openStores(config, clock)
  for (const warning of opened.warnings) app.log.warn(warning)
  app.decorate('stores', opened)
  app.addHook('onClose', () => opened.close())
}

declare module 'fastify' {
  interface FastifyInstance {
    stores: Stores
  }
}

export default fp(stores, { name: 'stores' })

import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import type { CircuitReport, CircuitState } from '../src/stores/circuit.ts'
import { openStores, type Stores } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'

const messages: Readonly<Record<CircuitState, string>> = {
  open: 'circuit open; next probe in 1 s',
  'half-open': 'circuit half-open; a growing share of calls passes',
  closed: 'circuit closed'
}

/** Opens the stores and closes them after the last request. */
async function stores(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const report: CircuitReport = (store, state, err) => {
    if (state === 'open') app.log.warn({ store, err }, messages.open)
    else app.log.info({ store }, messages[state])
  }
  const opened = await openStores(config, clock, report)
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

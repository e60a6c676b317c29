import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/settings.ts'
import { KeyturnError } from '../src/errors.ts'
import type { CircuitState, StoreName, StoreObserver } from '../src/stores/circuit.ts'
import { openStores, type Stores } from '../src/stores/open.ts'
import type { Clock } from '../src/time.ts'
import { shortBounds } from '../src/timings.ts'

const messages: Readonly<Record<CircuitState, string>> = {
  open: 'circuit open; next probe in 1 s',
  'half-open': 'circuit half-open; a growing share of calls passes',
  closed: 'circuit closed'
}

/** Opens the stores and closes them after the last request. */
async function stores(app: FastifyInstance, { config, clock }: { config: Config; clock: Clock }): Promise<void> {
  const opened = await openStores(config, clock, observe(app))
  for (const warning of opened.warnings) app.log.warn(warning)
  app.decorate('stores', opened)
  app.addHook('onClose', () => opened.close())
}

/** Logs changes of circuits, and measures calls and circuits for /metrics. */
function observe(app: FastifyInstance): StoreObserver {
  const isOpen = new Map<StoreName, number>()
  app.addGauge({
    name: 'keyturn_store_circuits_open',
    help: 'Workers that refuse all or some calls to a store because it did not answer in time',
    aggregator: 'sum',
    label: 'store',
    read: () => isOpen
  })
  const calls = app.addTimings({
    name: 'keyturn_store_call_duration_seconds',
    help: 'Duration of calls to the stores; failed: the store was down or refused',
    labels: ['store', 'result'],
    bounds: shortBounds
  })
  const { tracing } = app
  return {
    ...(tracing && {
      waited: (store, operation, ms, error) =>
        tracing.record({
          name: `${store} ${operation}`,
          ms,
          call: { system: systems[store], summary: operation },
          failure: failureOf(error)
        })
    }),
    changed(store, state, err) {
      isOpen.set(store, state === 'closed' ? 0 : 1)
      if (state === 'open') app.log.warn({ store, err }, messages.open)
      else app.log.info({ store }, messages[state])
    },
    called(store, ms, error) {
      if (!isOpen.has(store)) isOpen.set(store, 0)
      calls.add(ms / 1000, store, isOutage(error) ? 'failed' : 'ok')
    }
  }
}

/** Source of the names: OpenTelemetry semantic conventions, db.system.name. */
const systems: Readonly<Record<StoreName, string>> = { Redis: 'redis', PostgreSQL: 'postgresql', SQLite: 'sqlite' }

/** Other errors are our own refusals, or faulty statements, which have a code of SQLite or an SQLSTATE of PostgreSQL. */
const isOutage = (error: unknown): boolean => {
  if (error instanceof KeyturnError) return error.code === 'STORE_DOWN'
  return error !== undefined && !/^(\d|ERR_SQLITE)/.test(String((error as { code?: unknown }).code))
}

const failureOf = (error: unknown): string | undefined => {
  if (error === undefined) return undefined
  return isOutage(error) ? 'STORE_DOWN' : String((error as { code?: unknown }).code)
}

declare module 'fastify' {
  interface FastifyInstance {
    stores: Stores
  }
}

export default fp(stores, { name: 'stores', dependencies: ['metrics', 'tracing'] })

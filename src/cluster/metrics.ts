import type { Child, Metrics, Report } from './messages.ts'
import type { Pool } from './pool.ts'

/** How long a worker may take to tell its metrics, in milliseconds; after that its last ones count. */
const patience = 1000

/** Sums up the metrics of all workers, since a scrape reaches one of them. */
export interface Scraper {
  reported(worker: Child, report: Report): void
  gone(worker: Child): void
}

/** The counts of workers that are gone stay in the sums: a counter never runs backwards. */
export function makeScraper(pools: Readonly<Record<'workers' | 'hashers', Pool>>): Scraper {
  const latest = new Map<Child, Metrics>()
  let departed: Metrics = []
  /** Folds one after another, so that none is lost. */
  let folding = Promise.resolve()
  let round: { readonly missing: Set<Child>; readonly end: () => void } | undefined
  let measuring: Promise<void> | undefined

  const measure = async (): Promise<void> => {
    const missing = new Set(pools.workers.state().ready)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, patience)
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      round = { missing, end }
      for (const worker of missing) worker.tell({ type: 'measure' })
      if (missing.size === 0) end()
    })
    round = undefined
  }

  const scrape = async (): Promise<string> => {
    measuring ??= measure().finally(() => {
      measuring = undefined
    })
    await measuring
    return (await sum([countProcesses(pools), departed, ...latest.values()])).metrics()
  }

  const settle = (worker: Child): void => {
    round?.missing.delete(worker)
    if (round?.missing.size === 0) round.end()
  }

  return {
    reported(worker, report) {
      if (report.type === 'scrape') void scrape().then((text) => worker.tell({ type: 'scraped', text }))
      if (report.type !== 'measured') return
      latest.set(worker, report.metrics)
      settle(worker)
    },
    gone(worker) {
      settle(worker)
      const counts = latest.get(worker)?.filter(({ type }) => String(type) !== 'gauge')
      if (counts === undefined) return
      latest.set(worker, counts)
      folding = folding.then(async () => {
        const all = await (await sum([departed, counts])).getMetricsAsJSON()
        // Both in one moment: a scrape in between would count it twice, or not at all.
        departed = all
        latest.delete(worker)
      })
    }
  }
}

// Loaded at the first scrape: it would double what the arbiter takes to start.
const sum = async (all: readonly Metrics[]) => {
  const { AggregatorRegistry } = await import('@platformatic/prom-client')
  return AggregatorRegistry.aggregate([...all])
}

/** What only the arbiter knows. */
function countProcesses(pools: Readonly<Record<string, Pool>>): Metrics {
  const values = Object.entries(pools).flatMap(([kind, pool]) => {
    const { count, ready } = pool.state()
    return [
      { value: ready.length, labels: { kind, state: 'ready' } },
      { value: count - ready.length, labels: { kind, state: 'other' } }
    ]
  })
  const help = 'Processes of the service: those that are ready, and those that boot or drain'
  return [{ name: 'keyturn_processes', help, type: 'gauge', aggregator: 'sum', values }] as unknown as Metrics
}

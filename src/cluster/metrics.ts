import type { HashQueue } from './hash-queue.ts'
import { countDroppedLines } from './log.ts'
import type { Child, Metrics, Report } from './messages.ts'
import type { Pool } from './pool.ts'

/** How long a worker may take to report its metrics, in milliseconds; after that its last ones count. */
const patience = 1000

type CountedPool = Pick<Pool, 'count' | 'ready' | 'missing' | 'deaths'>

/**
 * Sums up the metrics of all workers, since a scrape reaches only one of them. The sums include the counts of workers that have
 * exited, so that a counter never decreases.
 */
export class Scraper {
  readonly #pools: Readonly<Record<'workers' | 'hashers', CountedPool>>
  readonly #hashQueue: Pick<HashQueue, 'measure'>
  readonly #latest = new Map<Child, Metrics>()
  /** Counts of workers that have exited. */
  #departed: Metrics = []
  /** Folds run one after another, so that none is lost. */
  #folding = Promise.resolve()
  /** The collection in progress: the workers that have not reported yet, and the function that ends it. */
  #collection: { readonly missing: Set<Child>; readonly end: () => void } | undefined
  #collected: Promise<void> | undefined

  constructor(pools: Readonly<Record<'workers' | 'hashers', CountedPool>>, hashQueue: Pick<HashQueue, 'measure'>) {
    this.#pools = pools
    this.#hashQueue = hashQueue
  }

  /** Handles a worker's report: answers a request for all metrics, or keeps the worker's own metrics. */
  receive(worker: Child, report: Report): void {
    if (report.type === 'scrape') void this.#scrape().then((text) => worker.send({ type: 'scraped', text }))
    if (report.type !== 'measured') return
    this.#latest.set(worker, report.metrics)
    this.#arrived(worker)
  }

  /** A worker has exited. */
  remove(worker: Child): void {
    this.#arrived(worker)
    const counts = this.#latest.get(worker)?.filter(({ type }) => String(type) !== 'gauge')
    if (counts === undefined) return
    this.#latest.set(worker, counts)
    this.#folding = this.#folding.then(async () => {
      const all = await (await sum([this.#departed, counts])).getMetricsAsJSON()
      // Both at once: a scrape in between would count it twice, or not at all.
      this.#departed = all
      this.#latest.delete(worker)
    })
  }

  async #scrape(): Promise<string> {
    this.#collected ??= this.#collect().finally(() => {
      this.#collected = undefined
    })
    await this.#collected
    const own = [measureProcesses(this.#pools), measureQueue(this.#hashQueue), ownDroppedLines()]
    return (await sum([...own, this.#departed, ...this.#latest.values()])).metrics()
  }

  async #collect(): Promise<void> {
    const missing = new Set(this.#pools.workers.ready)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, patience)
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#collection = { missing, end }
      for (const worker of missing) worker.send({ type: 'measure' })
      if (missing.size === 0) end()
    })
    this.#collection = undefined
  }

  #arrived(worker: Child): void {
    this.#collection?.missing.delete(worker)
    if (this.#collection?.missing.size === 0) this.#collection.end()
  }
}

// Loaded at the first scrape: it would double the arbiter's start-up time.
const sum = async (all: readonly Metrics[]) => {
  const { AggregatorRegistry } = await import('@platformatic/prom-client')
  return AggregatorRegistry.aggregate([...all])
}

/** The arbiter's own, beside those of the workers. */
const ownDroppedLines = (): Metrics =>
  [
    {
      name: 'keyturn_log_lines_dropped_total',
      help: 'Log lines dropped because standard output did not accept them',
      type: 'counter',
      aggregator: 'sum',
      values: [{ value: countDroppedLines(), labels: {} }]
    }
  ] as unknown as Metrics

/** What only the arbiter knows. */
function measureProcesses(pools: Readonly<Record<string, CountedPool>>): Metrics {
  const states = Object.entries(pools).flatMap(([kind, { count, ready, missing }]) => [
    { value: ready.length, labels: { kind, state: 'ready' } },
    { value: count - ready.length + missing, labels: { kind, state: 'other' } }
  ])
  const deaths = Object.entries(pools).map(([kind, pool]) => ({ value: pool.deaths, labels: { kind } }))
  return [
    {
      name: 'keyturn_processes',
      help: 'Processes of the service: ready, or other (booting, draining, or waiting for their start)',
      type: 'gauge',
      aggregator: 'sum',
      values: states
    },
    {
      name: 'keyturn_process_deaths_total',
      help: 'Processes that died or failed to boot',
      type: 'counter',
      aggregator: 'sum',
      values: deaths
    }
  ] as unknown as Metrics
}

function measureQueue(queue: Pick<HashQueue, 'measure'>): Metrics {
  const { waiting, capacity, histograms } = queue.measure()
  const gauge = (name: string, help: string, value: number) => ({
    name,
    help,
    type: 'gauge',
    aggregator: 'sum',
    values: [{ value, labels: {} }]
  })
  return [
    gauge('keyturn_hash_queue_length', 'Passwords that are waiting for a hasher', waiting),
    gauge('keyturn_hash_queue_capacity', 'HASH_QUEUE: how many passwords may wait', capacity),
    ...histograms
  ] as unknown as Metrics
}

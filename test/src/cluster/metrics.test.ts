import { mock } from 'node:test'
import { Counter, Gauge, Registry } from '@platformatic/prom-client'
import t from 'tap'
import type { Child } from '../../../src/cluster/messages.ts'
import { HashQueue } from '../../../src/cluster/hash-queue.ts'
import { Scraper } from '../../../src/cluster/metrics.ts'

interface Worker extends Child {
  /** Counts one request. */
  count(): void
  /** From now on it reports nothing. */
  hang(): void
  /** Requests the metrics of all workers. */
  scrape(): Promise<string>
  /** Reports its metrics unasked, as at its exit. */
  measure(): Promise<void>
}

/** Workers that are ready, and a scraper for them. */
function open(count: number) {
  const workers: Worker[] = []
  // One more is booting, and two wait for their start.
  const pools = {
    workers: {
      ready: workers,
      get count() {
        return workers.length + 1
      },
      missing: 2,
      deaths: 5
    },
    hashers: { ready: [], count: 0, missing: 0, deaths: 0 }
  }
  const scraper = new Scraper(pools, new HashQueue(7))
  for (let n = 0; n < count; n++) workers.push(aWorker(scraper))
  const gone = (worker: Worker): void => {
    workers.splice(workers.indexOf(worker), 1)
    worker.hang()
    scraper.remove(worker)
  }
  return { workers, gone, add: () => workers.push(aWorker(scraper)) }
}

function aWorker(scraper: Scraper): Worker {
  const registry = new Registry()
  const requests = new Counter({ name: 'requests_total', help: 'Requests', registers: [registry] })
  const memory = new Gauge({ name: 'memory_bytes', help: 'Memory', registers: [registry] })
  memory.set(100)
  let isHung = false
  const waiting: ((text: string) => void)[] = []
  const worker: Worker = {
    pid: 0,
    send(order) {
      if (order.type === 'measure') void worker.measure()
      if (order.type === 'scraped') waiting.shift()?.(order.text)
    },
    count: () => requests.inc(),
    hang() {
      isHung = true
    },
    scrape: () =>
      new Promise((resolve) => {
        waiting.push(resolve)
        scraper.receive(worker, { type: 'scrape' })
      }),
    async measure() {
      const metrics = structuredClone(await registry.getMetricsAsJSON())
      if (!isHung) scraper.receive(worker, { type: 'measured', metrics })
    }
  }
  return worker
}

const figure = (text: string, name: string): number =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? Number.NaN
  )

t.test('metrics: a scrape of any worker sums up all workers', async (t) => {
  const { workers } = open(3)
  const [one, two, three] = workers as [Worker, Worker, Worker]
  for (const worker of [one, two, two, three, three, three]) worker.count()
  const text = await one.scrape()
  t.equal(figure(text, 'requests_total'), 6)
  t.equal(figure(text, 'memory_bytes'), 300)
  t.match(text, '# TYPE keyturn_processes gauge')
  t.equal(figure(text, 'keyturn_processes{kind="workers",state="ready"}'), 3)
  t.equal(figure(text, 'keyturn_processes{kind="workers",state="other"}'), 3)
  t.equal(figure(text, 'keyturn_processes{kind="hashers",state="ready"}'), 0)
  t.equal(figure(text, 'keyturn_process_deaths_total{kind="workers"}'), 5)
  t.equal(figure(text, 'keyturn_hash_queue_capacity'), 7)
  two.count()
  t.equal(figure(await three.scrape(), 'requests_total'), 7)
})

t.test('metrics: scrapes at the same time share one collection', async (t) => {
  const { workers } = open(2)
  const [one, two] = workers as [Worker, Worker]
  one.count()
  const texts = await Promise.all([one.scrape(), two.scrape(), one.scrape()])
  t.same(
    texts.map((text) => figure(text, 'requests_total')),
    [1, 1, 1]
  )
})

t.test('metrics: the counters of a worker that has exited stay, its gauges do not', async (t) => {
  const { workers, gone, add } = open(2)
  const [one, two] = workers as [Worker, Worker]
  one.count()
  two.count()
  await two.measure()
  gone(two)
  t.equal(figure(await one.scrape(), 'requests_total'), 2)
  t.equal(figure(await one.scrape(), 'memory_bytes'), 100)
  add()
  workers[1]?.count()
  t.equal(figure(await one.scrape(), 'requests_total'), 3)
})

t.test('metrics: the last figures of a worker that hangs count, after a second', async (t) => {
  const { workers } = open(2)
  const [one, two] = workers as [Worker, Worker]
  two.count()
  await one.scrape()
  two.hang()
  two.count()
  one.count()
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const scraped = one.scrape()
  mock.timers.tick(1000)
  t.equal(figure(await scraped, 'requests_total'), 2)
})

t.test('metrics: a scrape does not wait for a worker that has died', async (t) => {
  const { workers, gone } = open(2)
  const [one, two] = workers as [Worker, Worker]
  two.hang()
  mock.timers.enable({ apis: ['setTimeout'] }) // and no time passes: waiting for it would never end
  t.teardown(() => mock.timers.reset())
  const scraped = one.scrape()
  gone(two)
  t.match(await scraped, /requests_total/)
})

t.test('metrics: a counter never runs backwards, whichever worker exits when', async (t) => {
  for (let moments = 0; moments < 60; moments++) {
    const { workers, gone } = open(4)
    const [asker, one, two] = workers as [Worker, Worker, Worker]
    for (const worker of workers) worker.count()
    t.equal(figure(await asker.scrape(), 'requests_total'), 4)
    gone(one)
    const scraped = asker.scrape()
    for (let moment = 0; moment < moments; moment++) await undefined
    gone(two)
    t.equal(figure(await scraped, 'requests_total'), 4, `another one exits ${moments} microtasks later`)
    t.equal(figure(await asker.scrape(), 'requests_total'), 4)
  }
})

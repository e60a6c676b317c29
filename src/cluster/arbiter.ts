import { availableParallelism } from 'node:os'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { ActivityKeeper } from './activity.ts'
import type { Kind } from './child.ts'
import { HashQueue } from './hash-queue.ts'
import { type Action, type Event, lifecycle, type Settings, type State } from './lifecycle.ts'
import type { Log } from './log.ts'
import type { Child, Report } from './messages.ts'
import { Scraper } from './metrics.ts'
import { writePidfile } from './pidfile.ts'
import { Pool } from './pool.ts'
import { type Request, requests } from './signals.ts'
import { openSockets, type Sockets } from './socket.ts'

/** How often the arbiter checks its processes, in milliseconds. */
const tick = 100

export interface Greeting {
  readonly url: string
  /** The address of health and metrics, if they have a separate port. */
  readonly management: string | undefined
  /** There are no users yet, in embedded data. */
  readonly hasNoUsers: boolean
  /** Process ids. */
  readonly workers: readonly number[]
  readonly hashers: readonly number[]
}

export interface ArbiterParts {
  readonly log: Log
  /** Reads the configuration again, for a reload. Throws ConfigError. */
  readonly load: () => Config
  /** Prints in one line why the service gave up. */
  readonly print: (reason: string) => void
  /** The service is up for the first time. */
  readonly greet: (facts: Greeting) => void
}

/** Whether some of the data is in DATA_DIR. */
export const isEmbedded = ({ databaseUrl, redisUrl }: Config): boolean =>
  databaseUrl === undefined || redisUrl === undefined

/**
 * How many processes of each kind. By default one worker per core in production, and a single one where the embedded data has
 * to be shared; one hasher per two workers, since logins are rare and small hosts have little memory. The name and meaning of
 * WEB_CONCURRENCY are Gunicorn's.
 */
export function sizesOf(config: Config): { readonly workers: number; readonly hashers: number } {
  const { webConcurrency, hashers, production } = config
  const workers = webConcurrency ?? (production && !isEmbedded(config) ? availableParallelism() : 1)
  return { workers, hashers: hashers ?? Math.ceil(workers / 2) }
}

const settingsOf = (config: Config): Settings => ({
  ...sizesOf(config),
  timeout: config.timeout * 1000,
  gracefulTimeout: config.gracefulTimeout * 1000,
  shutdownDelay: config.shutdownDelay * 1000,
  hashQueue: config.hashQueue
})

/**
 * Runs the service: binds the port, starts workers, which accept on it, and hashers, and keeps as many alive as configured
 * until a signal stops it. It answers no request itself. Resolves with the exit status once every process has exited: 0 after a
 * stop, 3 if no worker can boot. Throws ConfigError if the port is in use or the pidfile cannot be written.
 */
export async function runArbiter(config: Config, parts: ArbiterParts): Promise<number> {
  const removePidfile = config.pidfile === undefined ? () => {} : writePidfile(config.pidfile)
  try {
    return await new Arbiter(settingsOf(config), await openSockets(config), parts).run()
  } finally {
    removePidfile()
  }
}

type Performers = { readonly [T in Action['type']]: (action: Extract<Action, { readonly type: T }>) => void }

/** Feeds signals and the state of the pools into the lifecycle, and carries out the actions that follow. */
class Arbiter {
  readonly #parts: ArbiterParts
  readonly #sockets: Sockets
  readonly #workers: Pool
  readonly #hashers: Pool
  readonly #hashQueue: HashQueue
  readonly #scraper: Scraper
  readonly #activity: ActivityKeeper
  readonly #performers: Performers = {
    log: ({ level, facts = {}, message }) => this.#parts.log[level](facts, message),
    greet: () => this.#greet(),
    announceReload: () => this.#parts.log.info(this.#pids(), 'Keyturn reloaded'),
    load: () => this.#load(),
    renew: () => this.#eachPool((pool) => pool.renew()),
    revert: () => this.#eachPool((pool) => pool.revert()),
    apply: ({ settings }) => this.#apply(settings),
    closeSockets: () => this.#closeSockets(),
    drainWorkers: ({ delay, grace }) => this.#drainWorkers(delay, grace),
    drainHashers: ({ delay, grace }) => this.#hashers.drain(delay, grace),
    kill: () => this.#kill(),
    print: ({ reason }) => this.#parts.print(reason),
    exit: ({ code }) => this.#end(code)
  }
  #state: State
  readonly #events: Event[] = []
  #isDispatching = false
  #hasNoUsers = false
  #end: (exitCode: number) => void = () => {}

  constructor(settings: Settings, sockets: Sockets, parts: ArbiterParts) {
    this.#parts = parts
    this.#sockets = sockets
    this.#workers = new Pool('worker', parts.log, sockets)
    this.#hashers = new Pool('hasher', parts.log)
    this.#hashQueue = new HashQueue(settings.hashQueue)
    this.#scraper = new Scraper({ workers: this.#workers, hashers: this.#hashers }, this.#hashQueue)
    this.#activity = new ActivityKeeper(() => ({
      workers: this.#workers.ready.length,
      hashers: this.#hashers.ready.length,
      hashQueue: this.#hashQueue.measure()
    }))
    this.#state = { phase: 'booting', settings }
    this.#connectPools()
  }

  run(): Promise<number> {
    const ended = new Promise<number>((resolve) => {
      this.#end = resolve
    })
    this.#handleSignals()
    process.on('uncaughtException', (error) => this.#crash(error))
    const parent = process.ppid
    const ticker = setInterval(() => {
      this.#settle()
      // Unlike `exec` in a shell, npx may die of a signal without passing it on.
      if (process.env.npm_execpath !== undefined && process.ppid !== parent) this.#dispatch({ type: 'stop' })
    }, tick)
    if (this.#state.phase === 'booting') this.#apply(this.#state.settings)
    return ended.finally(() => clearInterval(ticker))
  }

  #connectPools(): void {
    this.#workers.on('report', (worker, report) => this.#receiveFromWorker(worker, report))
    this.#workers.on('exit', (worker) => {
      this.#hashQueue.removeWorker(worker)
      this.#scraper.remove(worker)
    })
    this.#hashers.on('report', (hasher, report) => this.#receiveFromHasher(hasher, report))
    this.#hashers.on('leaving', (hasher) => this.#hashQueue.retireHasher(hasher))
    this.#hashers.on('exit', (hasher) => this.#hashQueue.removeHasher(hasher))
    for (const pool of [this.#workers, this.#hashers]) {
      pool.on('bootFailed', (reason) => this.#dispatch({ type: 'bootFailed', reason }))
      pool.on('change', () => this.#settle())
    }
  }

  #receiveFromWorker(worker: Child, report: Report): void {
    if (report.type === 'ready') {
      this.#hasNoUsers = report.hasNoUsers === true
      this.#logReady('worker', worker)
    }
    if (report.type === 'hash') this.#hashQueue.add(worker, report.id, report.job)
    if (report.type === 'cancel') this.#hashQueue.cancel(worker, report.id)
    this.#scraper.receive(worker, report)
    this.#activity.receive(worker, report)
  }

  #receiveFromHasher(hasher: Child, report: Report): void {
    if (report.type === 'ready') {
      this.#hashQueue.addHasher(hasher)
      this.#logReady('hasher', hasher)
    }
    if (report.type === 'hashed') this.#hashQueue.settle(hasher, report.id, report.result)
  }

  /** The first processes are announced together, once all are ready. */
  #logReady(kind: Kind, { pid }: Child): void {
    this.#parts.log[this.#state.phase === 'booting' ? 'debug' : 'info']({ [kind]: pid }, `${kind} ready`)
  }

  /** Handlers stay until the process exits: a platform may send SIGTERM to the very end. */
  #handleSignals(): void {
    for (const [signal, request] of Object.entries(requests))
      process.on(signal, () => this.#receiveSignal(signal, request))
  }

  #receiveSignal(signal: string, request: Request): void {
    if (request !== 'ignore') this.#dispatch({ type: request })
    else this.#parts.log.info(`${signal} ignored: there are no log files to reopen, and SIGHUP loads new code`)
  }

  #crash(error: Error): never {
    this.#parts.log.fatal({ err: error }, 'uncaught exception; stopping all processes')
    this.#kill()
    process.exit(1)
  }

  /** Settles both pools, and passes their state to the lifecycle. */
  #settle(): void {
    // A reload replaces the processes of both pools or none: if only the workers can boot, they are not replaced either.
    for (const pool of [this.#workers, this.#hashers]) pool.settle(this.#workers.isComplete && this.#hashers.isComplete)
    this.#dispatch({ type: 'observed', workers: summarize(this.#workers), hashers: summarize(this.#hashers) })
  }

  /** Events that actions cause wait until those actions have been carried out. */
  #dispatch(event: Event): void {
    this.#events.push(event)
    if (this.#isDispatching) return
    this.#isDispatching = true
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      const { state, actions } = lifecycle(this.#state, next, performance.now())
      this.#state = state
      for (const action of actions) this.#perform(action)
    }
    this.#isDispatching = false
  }

  #perform(action: Action): void {
    const perform = this.#performers[action.type] as (action: Action) => void
    perform(action)
  }

  #greet(): void {
    const { service, management } = this.#sockets
    this.#parts.greet({
      url: service.url,
      management: management?.url,
      hasNoUsers: this.#hasNoUsers,
      ...this.#pids()
    })
  }

  #load(): void {
    try {
      this.#dispatch({ type: 'loaded', settings: settingsOf(this.#parts.load()) })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      this.#dispatch({ type: 'loadFailed', reason: error.message })
    }
  }

  #apply({ workers, hashers, timeout, gracefulTimeout: grace, hashQueue }: Settings): void {
    this.#hashQueue.capacity = hashQueue
    this.#workers.resize({ count: workers, timeout, grace })
    this.#hashers.resize({ count: hashers, timeout, grace })
    this.#settle()
  }

  #drainWorkers(delay: number, grace: number): void {
    this.#workers.drain(delay, grace)
    this.#settle()
  }

  #closeSockets(): void {
    this.#sockets.service.close()
    this.#sockets.management?.close()
  }

  #kill(): void {
    this.#eachPool((pool) => pool.kill())
  }

  #eachPool(act: (pool: Pool) => void): void {
    act(this.#workers)
    act(this.#hashers)
  }

  #pids(): Record<'workers' | 'hashers', number[]> {
    return { workers: pidsOf(this.#workers), hashers: pidsOf(this.#hashers) }
  }
}

const pidsOf = ({ ready }: Pool): number[] => ready.map(({ pid }) => pid)
const summarize = ({ count, ready, isSettled }: Pool) => ({ count, ready: ready.length, isSettled })

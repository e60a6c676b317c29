import { availableParallelism } from 'node:os'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { makeHashing } from './hashing.ts'
import type { Log } from './log.ts'
import type { Child } from './messages.ts'
import { makeScraper } from './metrics.ts'
import { writePidfile } from './pidfile.ts'
import { makePool, type Pool } from './pool.ts'
import { quickGrace, type Request, requests } from './signals.ts'
import { openSockets, type Sockets } from './socket.ts'

/** How often the arbiter looks at its processes, in milliseconds. */
const tick = 100

/** Without one ready worker for so long the arbiter gives up, in milliseconds: whoever runs it may know what to do. */
const mostBarren = 60_000

/** The exit status when no worker can boot. Source: Gunicorn's WORKER_BOOT_ERROR. */
const bootError = 3

export interface Greeting {
  readonly url: string
  /** Where health and metrics are, if they are elsewhere. */
  readonly management: string | undefined
  /** There are no users yet, in embedded data. */
  readonly hasNoUsers: boolean
  /** Their process ids. */
  readonly workers: readonly number[]
  readonly hashers: readonly number[]
}

export interface ArbiterParts {
  readonly log: Log
  /** Reads the configuration again, for a reload. Throws ConfigError. */
  readonly load: () => Config
  /** Tells in a line why the service gave up. */
  readonly say: (words: string) => void
  /** All that were wanted serve for the first time. */
  readonly greet: (facts: Greeting) => void
}

/** Whether some of the data is in DATA_DIR. */
export const isEmbedded = ({ databaseUrl, redisUrl }: Config): boolean =>
  databaseUrl === undefined || redisUrl === undefined

/**
 * How many processes of each kind. By default a worker a core in production, and one where the embedded data has to be
 * shared; a hasher for two workers, since logins are few, and memory is what a small host lacks. WEB_CONCURRENCY's name
 * and meaning are Gunicorn's.
 */
export function sizesOf(config: Config): { readonly workers: number; readonly hashers: number } {
  const { webConcurrency, hashers, production } = config
  const workers = webConcurrency ?? (production && !isEmbedded(config) ? availableParallelism() : 1)
  return { workers, hashers: hashers ?? Math.ceil(workers / 2) }
}

/**
 * Runs the service: binds the port, starts workers, which accept on it, and hashers, and keeps so many alive until a
 * signal ends it all. It answers no request itself. Resolves with the exit status once every process is gone: 0 after a
 * stop, 3 when no worker could boot. Throws ConfigError when the port or the pidfile cannot be had.
 */
export async function runArbiter(config: Config, parts: ArbiterParts): Promise<number> {
  const removePidfile = config.pidfile === undefined ? () => {} : writePidfile(config.pidfile)
  try {
    return await arbitrate(config, await openSockets(config), parts)
  } finally {
    removePidfile()
  }
}

/** A reload that runs. */
interface Reload {
  /** What it goes back to if a process cannot boot. */
  readonly config: Config
  readonly sizes: ReturnType<typeof sizesOf>
  /** While it ran somebody asked for another one, perhaps after a correction. */
  isAskedAgain: boolean
}

/** The life of the service: it boots, is up, and stops. */
async function arbitrate(first: Config, sockets: Sockets, parts: ArbiterParts): Promise<number> {
  const { log, say, greet } = parts
  const { service, management } = sockets
  let config = first
  let sizes = sizesOf(config)
  let phase: 'booting' | 'up' | 'stopping' = 'booting'
  let reload: Reload | undefined
  let exitCode = 0
  let hasNoUsers = false
  let lastReadyAt = performance.now()
  let lastWords = ''
  const end = makeEnd()

  const { workers, hashers } = makePools({
    log,
    sockets,
    hashQueue: () => config.hashQueue,
    ready(worker, isFirstUse) {
      hasNoUsers = isFirstUse
      if (phase === 'up') log.info({ worker: worker.pid }, 'worker is ready')
    },
    failed(words) {
      lastWords = words
      if (phase === 'booting') giveUp(words)
      else if (reload !== undefined) abandonReload(reload, words)
      else if (phase === 'up') log.error({ reason: words }, 'a process cannot boot; another one will be tried')
    },
    // A reload is one for both: if only the workers can boot, not even they are replaced.
    mayRelieve: () => pools.every((pool) => pool.state().isComplete),
    settled: () => advance()
  })
  const pools = [workers, hashers]

  const resize = (): void => {
    const { timeout, gracefulTimeout } = config
    const limits = { timeout: timeout * 1000, grace: gracefulTimeout * 1000 }
    workers.resize({ count: sizes.workers, ...limits })
    hashers.resize({ count: sizes.hashers, ...limits })
    for (const pool of pools) pool.settle()
  }

  /** Goes on to the next phase once the present one has reached its end. */
  const advance = (): void => {
    if (workers.state().ready.length > 0) lastReadyAt = performance.now()
    if (phase === 'stopping') {
      // Logins in flight need the hashers to the end.
      if (workers.state().count > 0) return
      if (hashers.state().count > 0) hashers.drain(0, quickGrace)
      else end.reach()
      return
    }
    if (pools.every((pool) => pool.state().isSettled)) {
      const processes = { workers: pids(workers), hashers: pids(hashers) }
      if (phase === 'booting') greet({ url: service.url, management: management?.url, hasNoUsers, ...processes })
      phase = 'up'
      if (reload !== undefined) {
        log.info(processes, 'Keyturn has reloaded')
        const { isAskedAgain } = reload
        reload = undefined
        if (isAskedAgain) startReload()
      }
    }
    if (phase === 'up' && performance.now() - lastReadyAt > mostBarren) giveUp(lastWords)
  }

  const stop = (delayMs: number, graceMs: number): void => {
    if (phase !== 'stopping') log.info('Keyturn stops')
    phase = 'stopping'
    service.close()
    management?.close()
    workers.drain(delayMs, graceMs)
    advance()
  }

  const giveUp = (words: string): void => {
    phase = 'stopping'
    exitCode = bootError
    say(words)
    for (const pool of pools) pool.kill()
  }

  const startReload = (): void => {
    const before = { config, sizes, isAskedAgain: false }
    try {
      config = parts.load()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      log.error({ reason: error.message }, 'there is no reload; everything stays as it is')
      return
    }
    log.info('Keyturn reloads')
    reload = before
    sizes = sizesOf(config)
    for (const pool of pools) pool.reload()
    resize()
  }

  const abandonReload = ({ isAskedAgain, ...before }: Reload, words: string): void => {
    log.error({ reason: words }, 'the reload is abandoned; the old processes go on')
    reload = undefined
    config = before.config
    sizes = before.sizes
    for (const pool of pools) pool.abandonReload()
    resize()
    if (isAskedAgain) startReload()
  }

  const recount = (by: 1 | -1): void => {
    if (phase !== 'up') return
    sizes = { ...sizes, workers: Math.max(1, sizes.workers + by) }
    log.info({ workers: sizes.workers }, 'the number of workers is changed')
    resize()
  }

  const stopGently = (): void => {
    if (phase !== 'stopping') stop(config.shutdownDelay * 1000, config.gracefulTimeout * 1000)
  }
  hearSignals({
    stop: stopGently,
    quit: () => stop(0, quickGrace),
    reload() {
      if (reload !== undefined) reload.isAskedAgain = true
      else if (phase === 'up') startReload()
    },
    more: () => recount(1),
    fewer: () => recount(-1),
    note: (signal) => log.info(`${signal} asks for nothing: logs go to standard output, and a release starts anew`)
  })
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'a defect; all processes end')
    for (const pool of pools) pool.kill()
    process.exit(1)
  })
  const parent = process.ppid
  const watch = setInterval(() => {
    for (const pool of pools) pool.settle()
    // npx, unlike `exec` in a shell, may die of a signal without passing it on.
    if (process.env.npm_execpath !== undefined && process.ppid !== parent) stopGently()
  }, tick)
  resize()
  await end.reached
  clearInterval(watch)
  if (exitCode === 0) log.info('Keyturn has stopped')
  return exitCode
}

interface PoolsParts {
  readonly log: Log
  readonly sockets: Sockets
  hashQueue(): number
  ready(worker: Child, hasNoUsers: boolean): void
  failed(words: string): void
  mayRelieve(): boolean
  settled(): void
}

/** The workers and the hashers, and what goes between them. */
function makePools({
  log,
  sockets,
  hashQueue,
  ready,
  failed,
  mayRelieve,
  settled
}: PoolsParts): Readonly<Record<'workers' | 'hashers', Pool>> {
  const hashing = makeHashing(hashQueue)
  const workers = makePool('worker', {
    log,
    sockets,
    events: {
      reported(worker, report) {
        if (report.type === 'ready') ready(worker, report.hasNoUsers === true)
        if (report.type === 'hash') hashing.ask(worker, report.id, report.job)
        if (report.type === 'unhash') hashing.drop(worker, report.id)
        scraper.reported(worker, report)
      },
      gone(worker) {
        hashing.forget(worker)
        scraper.gone(worker)
      },
      failed,
      mayRelieve,
      settled
    }
  })
  const hashers = makePool('hasher', {
    log,
    events: {
      reported(hasher, report) {
        if (report.type === 'ready') hashing.join(hasher)
        if (report.type === 'hashed') hashing.answer(hasher, report.id, report.result)
      },
      leaving: (hasher) => hashing.leave(hasher, false),
      gone: (hasher) => hashing.leave(hasher, true),
      failed,
      mayRelieve,
      settled
    }
  })
  const scraper = makeScraper({ workers, hashers })
  return { workers, hashers }
}

/** Calls the answer to each signal, until the process ends: a platform may send SIGTERM to the very last. */
function hearSignals(answers: Readonly<Record<Request, (signal: string) => void>>): void {
  for (const [signal, request] of Object.entries(requests)) process.on(signal, () => answers[request](signal))
}

function makeEnd(): { reach(): void; readonly reached: Promise<void> } {
  let reach = (): void => {}
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  return { reach: () => reach(), reached }
}

const pids = (pool: Pool): number[] => pool.state().ready.map(({ pid }) => pid)

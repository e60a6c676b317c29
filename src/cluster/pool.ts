import { type ChildProcess, fork, type SendHandle } from 'node:child_process'
import type { Log } from './log.ts'
import type { Child, Order, Report } from './messages.ts'
import { backOff, type Member, plan } from './plan.ts'
import { requests } from './signals.ts'
import type { Sockets } from './socket.ts'

/** Who has served for so long has not died young, so the next one starts at once. Milliseconds. */
const youth = 10_000

/** What a process may take, beyond its time to drain, to take leave of the stores. Milliseconds. */
const closing = 2000

/**
 * A pool looks at itself so often; if it could not for longer, its processes were not silent, it was deaf.
 * Milliseconds.
 */
const mostDeaf = 1000

export interface PoolSize {
  readonly count: number
  /** Milliseconds of silence that are taken for a hang; 0 is no limit. */
  readonly timeout: number
  /** Milliseconds that a process may take to finish its work when it is relieved. */
  readonly grace: number
}

export interface PoolEvents {
  /** Every report of a process that the pool does not mind itself. */
  reported(child: Child, report: Report): void
  /** It is to get no more work: it has to leave, or is silent. */
  leaving?(child: Child): void
  gone(child: Child): void
  /** It ended before it was ready; `words` say why. */
  failed(words: string): void
  /** Whether processes whose replacements are ready may go. */
  mayRelieve(): boolean
  /** The pool has done what was to be done. */
  settled(): void
}

/** All processes of one kind: so many as wanted, each watched, relieved and replaced. Nothing else starts or ends one. */
export interface Pool {
  resize(size: PoolSize): void
  /** New processes first; the old ones go once as many new ones as wanted are ready, and they may go. */
  reload(): void
  /** New ones cannot boot: back to the old ones, unless they are gone. */
  abandonReload(): void
  /** Lets all go: `delay` and `grace` as in Order. Called again it can only be quicker. */
  drain(delay: number, grace: number): void
  /** Ends all at once, whatever they are doing. */
  kill(): void
  /** Does what is to be done now. It is called after each event, and has to be called a few times a second. */
  settle(): void
  state(): PoolState
}

export interface PoolState {
  /** All processes. */
  readonly count: number
  /** Those that serve; who is silent does not. */
  readonly ready: readonly Child[]
  /** As many as wanted are ready that need no replacement. */
  readonly isComplete: boolean
  /** So it is, and no others serve. */
  readonly isSettled: boolean
}

/** A process with what the plan needs to know of it. */
interface Process extends Child {
  readonly process: ChildProcess
  readonly bornAt: number
  state: Member['state']
  /** Older than the last reload. */
  isOld: boolean
  /** At its MAX_REQUESTS. */
  isSpent: boolean
  beatAt: number
  readyAt?: number
  abortedAt?: number
  killAt?: number
  /** It knows that the service stops. */
  isStopping: boolean
  /** Why it cannot boot, as it says. */
  words?: string
}

interface Leave {
  readonly delay: number
  readonly grace: number
  readonly isStop: boolean
}

/** `sockets` are handed to each process that is born. */
export function makePool(
  kind: 'worker' | 'hasher',
  { log, sockets, events }: { readonly log: Log; readonly sockets?: Sockets; readonly events: PoolEvents }
): Pool {
  const file = import.meta.filename.replace(/pool(\.[jt]s)$/, `${kind}$1`)
  const processes = new Map<number, Process>()
  let size: PoolSize = { count: 0, timeout: 0, grace: 0 }
  let failures = 0
  let startAt = 0
  let settledAt = performance.now()
  let isKilled = false

  const start = (): void => {
    const child = fork(file, [], { env: environmentOf(kind), stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    child.on('error', (error) => {
      if (child.pid === undefined) events.failed(`A ${kind} cannot be started: ${error.message}.`)
      else log.error({ err: error, [kind]: child.pid }, `${kind} cannot be reached`)
    })
    const { pid } = child
    if (pid === undefined) {
      tire(0)
      return
    }
    const now = performance.now()
    const born: Process = {
      pid,
      process: child,
      bornAt: now,
      beatAt: now,
      state: 'booting',
      isOld: false,
      isSpent: false,
      isStopping: false,
      tell: (order) => send(child, order)
    }
    processes.set(pid, born)
    child.on('message', (report: Report) => hear(born, report))
    child.on('exit', (code, signal) => bury(born, code, signal))
    for (const at of ['management', 'service'] as const) {
      const socket = sockets?.[at]
      if (socket !== undefined) send(child, { type: 'listen', at }, socket.handle)
    }
    log.debug({ [kind]: pid }, `${kind} boots`)
  }

  const hear = (from: Process, report: Report): void => {
    from.beatAt = performance.now()
    if (report.type === 'beat') return
    if (report.type === 'spent') from.isSpent = true
    if (report.type === 'refused') from.words = report.words
    if (report.type === 'ready') {
      // It may have been relieved while it said so.
      if (from.state !== 'booting') return
      from.state = 'ready'
      from.readyAt = from.beatAt
      log.debug({ [kind]: from.pid, ms: Math.round(from.beatAt - from.bornAt) }, `${kind} is ready`)
    }
    events.reported(from, report)
    settle()
  }

  const bury = (dead: Process, code: number | null, signal: NodeJS.Signals | null): void => {
    processes.delete(dead.pid)
    const { state, bornAt, readyAt, abortedAt, words } = dead
    const lived = readyAt === undefined ? 0 : performance.now() - readyAt
    const facts = { [kind]: dead.pid, code, signal, seconds: toSeconds(lived) }
    if (state === 'draining') log[isKilled ? 'debug' : 'info'](facts, `${kind} is gone`)
    else tire(lived)
    events.gone(dead)
    if (state === 'ready') {
      const hint = signal === 'SIGKILL' && abortedAt === undefined ? '; perhaps out of memory' : ''
      log.error(facts, `${kind} died${hint}`)
    }
    if (state === 'booting' && !isAsked(signal)) {
      const late = abortedAt === undefined ? '' : `not ready after ${toSeconds(abortedAt - bornAt)} seconds, `
      events.failed(words ?? `A ${kind} cannot boot: ${late}it ended with ${signal ?? `code ${code}`}.`)
    }
    settle()
  }

  /** One more death: the next start waits for as long as the last ones in a row ask for. */
  const tire = (lived: number): void => {
    failures = lived >= youth ? 1 : failures + 1
    startAt = performance.now() + backOff(failures)
  }

  const startAnew = (): void => {
    failures = 0
    startAt = 0
  }

  const relieve = (each: Process, { delay, grace, isStop }: Leave): void => {
    const killAt = performance.now() + delay + grace + closing
    const isSooner = killAt < (each.killAt ?? Number.POSITIVE_INFINITY)
    if (!isSooner && !(isStop && !each.isStopping)) return
    log.debug({ [kind]: each.pid }, `${kind} is relieved`)
    each.state = 'draining'
    each.isStopping = isStop
    if (isSooner) each.killAt = killAt
    each.tell({ type: 'drain', delay, grace, isStop })
    events.leaving?.(each)
  }
  const replace = (each: Process): void => relieve(each, { delay: 0, grace: size.grace, isStop: false })

  const abort = (each: Process): void => {
    const silence = performance.now() - each.beatAt
    log.error({ [kind]: each.pid, seconds: toSeconds(silence) }, `${kind} is silent, and is ended`)
    each.abortedAt = performance.now()
    each.process.kill('SIGABRT')
    events.leaving?.(each)
  }

  const settle = (): void => {
    const now = performance.now()
    if (now - settledAt > mostDeaf) for (const each of processes.values()) each.beatAt += now - settledAt
    settledAt = now
    const members = [...processes.values()].map(({ pid, isOld, isSpent, ...each }) => ({
      ...each,
      id: pid,
      isSpent: isOld || isSpent
    }))
    const todo = plan(members, { ...size, startAt, mayRelieve: events.mayRelieve() }, now)
    const named = (ids: readonly number[]) => ids.flatMap((id) => processes.get(id) ?? [])
    for (const each of named(todo.kill)) each.process.kill('SIGKILL')
    for (const each of named(todo.abort)) abort(each)
    for (const each of named(todo.drain)) replace(each)
    for (let n = 0; n < todo.start; n += 1) start()
    events.settled()
  }

  return {
    resize(wanted) {
      size = wanted
    },
    reload() {
      for (const each of processes.values()) {
        // What it boots with is out of date already.
        if (each.state === 'booting') replace(each)
        each.isOld = true
      }
      startAnew()
    },
    abandonReload() {
      const serving = [...processes.values()].filter(({ state }) => state !== 'draining')
      if (!serving.some(({ isOld }) => isOld)) return
      for (const each of serving) {
        if (!each.isOld) replace(each)
        each.isOld = false
      }
      startAnew()
    },
    drain(delay, grace) {
      size = { ...size, count: 0 }
      for (const each of processes.values()) relieve(each, { delay, grace, isStop: true })
    },
    kill() {
      isKilled = true
      size = { ...size, count: 0 }
      for (const each of processes.values()) {
        each.state = 'draining'
        each.process.kill('SIGKILL')
      }
    },
    settle,
    state() {
      const serving = [...processes.values()].filter(
        ({ state, abortedAt }) => state !== 'draining' && abortedAt === undefined
      )
      const ready = serving.filter(({ state }) => state === 'ready')
      const fresh = ready.filter(({ isOld, isSpent }) => !isOld && !isSpent)
      const isComplete = fresh.length >= size.count
      return { count: processes.size, ready, isComplete, isSettled: isComplete && fresh.length === serving.length }
    }
  }
}

/**
 * Whether it died of being told to leave. A platform that signals all processes at once reaches some before they can hear it,
 * and the arbiter may learn of their death before it has heard the signal itself: that is no boot that failed.
 */
const isAsked = (signal: NodeJS.Signals | null): boolean => signal !== null && /stop|quit/.test(requests[signal] ?? '')

const toSeconds = (ms: number): number => Math.round(ms / 1000)

/**
 * A hasher works at one password at a time, and that takes one of libuv's threads (lanes of argon2 have their own). Of
 * four the next password is another one's each time, and each has 19 MiB of its own, none of which is in the
 * processor's cache: 125 MB of memory instead of 68, and 2 ms of CPU more for each password.
 */
const environmentOf = (kind: 'worker' | 'hasher'): NodeJS.ProcessEnv =>
  kind === 'hasher' ? { ...process.env, UV_THREADPOOL_SIZE: '1' } : process.env

/** Into a channel that may be closed already: then there is nobody to tell. */
function send(child: ChildProcess, order: Order, socket?: object): void {
  if (child.connected) child.send(order, socket as SendHandle | undefined, () => {})
}

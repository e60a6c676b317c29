import { EventEmitter } from 'node:events'
import type { Kind } from './child.ts'
import type { Log } from './log.ts'
import type { Child, Report } from './messages.ts'
import { backOff, type Plan, plan } from './plan.ts'
import { type Drain, forkProcess, PoolProcess } from './pool-process.ts'
import type { Sockets } from './socket.ts'

/** If a process dies after at least so many milliseconds, the next one starts without a back-off. */
const youth = 10_000

/**
 * A pool is settled several times a second. After a longer gap, in milliseconds, the arbiter itself was suspended or blocked,
 * and missing heartbeats do not mean that a process hangs.
 */
const maxUnattended = 1000

export interface PoolSize {
  readonly count: number
  /** Milliseconds of silence after which a process counts as hanging; 0 disables the limit. */
  readonly timeout: number
  /** Milliseconds that a process may take to finish its work when it is replaced. */
  readonly grace: number
}

type PoolEvents = {
  /** A report that the pool does not handle itself. */
  report: [child: Child, report: Report]
  /** A process gets no more work, because it drains or sends no heartbeats. */
  leaving: [child: Child]
  exit: [child: Child]
  /** A process exited before it was ready. */
  bootFailed: [reason: string]
  /** Something has changed: `settle` should be called. */
  change: []
}

/**
 * All processes of one kind. The pool keeps as many as wanted, supervises them, and replaces those that die, hang or have
 * reached MAX_REQUESTS. Nothing else starts or ends one. The owner calls `settle` after each `change` event, and a few times a
 * second.
 */
export class Pool extends EventEmitter<PoolEvents> {
  readonly #kind: Kind
  readonly #log: Log
  readonly #sockets: Partial<Sockets>
  readonly #processes = new Map<number, PoolProcess>()
  #size: PoolSize = { count: 0, timeout: 0, grace: 0 }
  #failures = 0
  #startAt = 0
  #settledAt = performance.now()
  #isKilled = false
  #deaths = 0

  /** `sockets` are passed to each process that starts. */
  constructor(kind: Kind, log: Log, sockets: Partial<Sockets> = {}) {
    super()
    this.#kind = kind
    this.#log = log
    this.#sockets = sockets
  }

  /** All processes, draining ones too. */
  get count(): number {
    return this.#processes.size
  }

  /** Those that serve; not those that send no heartbeats. */
  get ready(): readonly Child[] {
    return this.#serving().filter(({ state }) => state === 'ready')
  }

  /** The number of processes that are wanted but not running, because their start is delayed. */
  get missing(): number {
    return Math.max(0, this.#size.count - this.#serving().length)
  }

  /** How many have died, or failed to boot. */
  get deaths(): number {
    return this.#deaths
  }

  /** Whether as many as wanted are ready that need no replacement. */
  get isComplete(): boolean {
    return this.#fresh().length >= this.#size.count
  }

  /** Whether it is complete, and no others serve. */
  get isSettled(): boolean {
    return this.isComplete && this.#fresh().length === this.#serving().length
  }

  resize(size: PoolSize): void {
    this.#size = size
  }

  /** Marks all processes for replacement. They drain once as many new ones as wanted are ready, and they may retire. */
  renew(): void {
    for (const each of this.#processes.values()) {
      // It is booting with a configuration that is already out of date.
      if (each.state === 'booting') this.#replace(each)
      each.markOutdated(true)
    }
    this.#resetBackOff()
  }

  /** Keeps the old processes after a reload that failed, unless they have exited, and drains the new ones. */
  revert(): void {
    const active = this.#all().filter(({ state }) => state !== 'draining')
    if (!active.some(({ isOutdated }) => isOutdated)) return
    for (const each of active) {
      if (!each.isOutdated) this.#replace(each)
      each.markOutdated(false)
    }
    this.#resetBackOff()
  }

  /** Drains all processes, since the service stops; `delay` and `grace` are those of Order. A later call can only shorten them. */
  drain(delay: number, grace: number): void {
    this.#size = { ...this.#size, count: 0 }
    for (const each of this.#processes.values()) this.#drain(each, { delay, grace, isStop: true })
  }

  /** Ends all at once, whatever they are doing. */
  kill(): void {
    this.#isKilled = true
    this.#size = { ...this.#size, count: 0 }
    for (const each of this.#processes.values()) each.discard()
  }

  /** Carries out the current plan. `mayRetire`: processes whose replacements are ready may drain. */
  settle(mayRetire: boolean): void {
    const now = performance.now()
    if (now - this.#settledAt > maxUnattended)
      for (const each of this.#processes.values()) each.forgive(now - this.#settledAt)
    this.#settledAt = now
    const members = this.#all().map(({ member }) => member)
    this.#carryOut(plan(members, { ...this.#size, startAt: this.#startAt, mayRetire }, now))
  }

  #carryOut(todo: Plan): void {
    const named = (ids: readonly number[]) => ids.flatMap((id) => this.#processes.get(id) ?? [])
    for (const each of named(todo.kill)) each.kill()
    for (const each of named(todo.abort)) this.#abort(each)
    for (const each of named(todo.drain)) this.#replace(each)
    for (let n = 0; n < todo.start; n += 1) this.#start()
  }

  #start(): void {
    const child = forkProcess(this.#kind)
    const { pid } = child
    child.on('error', (error) => {
      if (pid === undefined) this.emit('bootFailed', `A ${this.#kind} could not be started: ${error.message}.`)
      else this.#log.error({ err: error, [this.#kind]: pid }, `${this.#kind} did not receive a message or signal`)
    })
    if (pid === undefined) {
      this.#countFailure(0)
      return
    }
    const started = new PoolProcess(child, pid)
    this.#processes.set(pid, started)
    child.on('message', (report: Report) => this.#receive(started, report))
    child.on('exit', (code, signal) => this.#remove(started, code, signal))
    for (const at of ['management', 'service'] as const) {
      const socket = this.#sockets[at]
      if (socket !== undefined) started.send({ type: 'listen', at }, socket.handle)
    }
    this.#log.debug({ [this.#kind]: pid }, `${this.#kind} starting`)
  }

  #receive(from: PoolProcess, report: Report): void {
    if (!from.record(report)) return
    if (report.type !== 'heartbeat') this.emit('report', from, report)
    if (report.type === 'ready' || report.type === 'exhausted') this.emit('change')
  }

  #remove(dead: PoolProcess, code: number | null, signal: NodeJS.Signals | null): void {
    this.#processes.delete(dead.pid)
    const { state, uptime } = dead
    const request = dead.requestOf(code, signal)
    if (state !== 'draining' && request === undefined) this.#deaths += 1
    // If somebody ends each process while it boots, the next one waits longer too.
    if (state === 'booting' || (state === 'ready' && request === undefined)) this.#countFailure(uptime)
    this.#logExit(dead, code, signal)
    this.emit('exit', dead)
    // A platform that signals all processes at once reaches some before they have handlers, and the arbiter may see their
    // death before its own signal: that is not a failed boot.
    if (state === 'booting' && request === undefined)
      this.emit('bootFailed', dead.explainFailure(this.#kind, code, signal))
    this.emit('change')
  }

  #logExit(dead: PoolProcess, code: number | null, signal: NodeJS.Signals | null): void {
    const { pid, state, uptime, wasAborted } = dead
    const request = state === 'draining' ? undefined : dead.requestOf(code, signal)
    const facts = { [this.#kind]: pid, code, signal, request, seconds: toSeconds(uptime) }
    const hint = signal === 'SIGKILL' && !wasAborted ? '; perhaps out of memory' : ''
    if (state === 'draining' || request !== undefined)
      this.#log[this.#isKilled ? 'debug' : 'info'](facts, `${this.#kind} exited`)
    else if (state === 'ready') this.#log.error(facts, `${this.#kind} died${hint}`)
  }

  #replace(each: PoolProcess): void {
    this.#drain(each, { delay: 0, grace: this.#size.grace, isStop: false })
  }

  #drain(each: PoolProcess, drain: Drain): void {
    if (!each.drain(drain)) return
    this.#log.debug({ [this.#kind]: each.pid }, `${this.#kind} draining`)
    this.emit('leaving', each)
  }

  #abort(each: PoolProcess): void {
    const facts = { [this.#kind]: each.pid, seconds: toSeconds(each.silence) }
    this.#log.error(facts, `${this.#kind} unresponsive; sending SIGABRT`)
    each.abort()
    this.emit('leaving', each)
  }

  /** Each consecutive failure makes the next start wait longer. */
  #countFailure(uptime: number): void {
    this.#failures = uptime >= youth ? 1 : this.#failures + 1
    this.#startAt = performance.now() + backOff(this.#failures)
  }

  #resetBackOff(): void {
    this.#failures = 0
    this.#startAt = 0
  }

  #all(): PoolProcess[] {
    return [...this.#processes.values()]
  }

  #serving(): PoolProcess[] {
    return this.#all().filter(({ isServing }) => isServing)
  }

  #fresh(): PoolProcess[] {
    return this.#serving().filter(({ member }) => member.state === 'ready' && !member.needsReplacement)
  }
}

const toSeconds = (ms: number): number => Math.round(ms / 1000)

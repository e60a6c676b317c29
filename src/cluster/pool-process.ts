import { type ChildProcess, fork, type SendHandle } from 'node:child_process'
import type { Kind } from './child.ts'
import type { Child, Order, Report } from './messages.ts'
import type { Member } from './plan.ts'
import { isStopSignal } from './signals.ts'

/** Milliseconds that a process may take to close the stores, in addition to its time to drain. */
const closingTime = 2000

export interface Drain {
  /** Milliseconds, as in Order. */
  readonly delay: number
  readonly grace: number
  readonly isStop: boolean
}

/** Forks the program of a worker or a hasher. The process has no `pid` when it cannot be started. */
export function forkProcess(kind: Kind): ChildProcess {
  const file = import.meta.filename.replace(/pool-process(\.[jt]s)$/, `${kind}$1`)
  return fork(file, [], { env: environmentOf(kind), stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

/**
 * A hasher works on one password at a time, for which it needs one of libuv's threads (argon2 starts its own for its lanes).
 * With the default of four, each password would go to another thread with 19 MiB of its own, none of which is in the
 * processor's cache: 125 MB of memory instead of 68, and 2 ms of CPU more for each password.
 */
const environmentOf = (kind: Kind): NodeJS.ProcessEnv =>
  kind === 'hasher' ? { ...process.env, UV_THREADPOOL_SIZE: '1' } : process.env

/** A process of a pool, with what the plan needs to know about it. */
export class PoolProcess implements Child {
  readonly pid: number
  readonly startedAt = performance.now()
  readonly #child: ChildProcess
  #state: Member['state'] = 'booting'
  #beatAt = this.startedAt
  #readyAt: number | undefined
  #abortedAt: number | undefined
  #killAt: number | undefined
  /** Started before the last reload. */
  #isOutdated = false
  /** At its MAX_REQUESTS. */
  #isExhausted = false
  /** It has been ordered to drain because the whole service stops. */
  #knowsOfStop = false
  #refusal: string | undefined
  /** The signal that it has reported to exit on. */
  #signal: string | undefined

  constructor(child: ChildProcess, pid: number) {
    this.#child = child
    this.pid = pid
  }

  get state(): Member['state'] {
    return this.#state
  }

  get isOutdated(): boolean {
    return this.#isOutdated
  }

  /** Whether it answers requests, or will once it has booted. */
  get isServing(): boolean {
    return this.#state !== 'draining' && this.#abortedAt === undefined
  }

  get wasAborted(): boolean {
    return this.#abortedAt !== undefined
  }

  /** Milliseconds since the last heartbeat. */
  get silence(): number {
    return performance.now() - this.#beatAt
  }

  /** Milliseconds since it was ready; 0 if it never was. */
  get uptime(): number {
    return this.#readyAt === undefined ? 0 : performance.now() - this.#readyAt
  }

  get member(): Member {
    return {
      id: this.pid,
      state: this.#state,
      needsReplacement: this.#isOutdated || this.#isExhausted,
      beatAt: this.#beatAt,
      ...(this.#abortedAt === undefined ? {} : { abortedAt: this.#abortedAt }),
      ...(this.#killAt === undefined ? {} : { killAt: this.#killAt })
    }
  }

  send(order: Order, socket?: object): void {
    if (this.#child.connected) this.#child.send(order, socket as SendHandle | undefined, () => {})
  }

  /** Records a report. Returns false for a report that is too late: `ready` from a process that is already draining. */
  record(report: Report): boolean {
    this.#beatAt = performance.now()
    if (report.type === 'exhausted') this.#isExhausted = true
    if (report.type === 'refused') this.#refusal = report.reason
    if (report.type === 'leaving') this.#signal = report.signal
    if (report.type !== 'ready') return true
    if (this.#state !== 'booting') return false
    this.#state = 'ready'
    this.#readyAt = this.#beatAt
    return true
  }

  markOutdated(isOutdated: boolean): void {
    this.#isOutdated = isOutdated
  }

  /** Adds the time during which the arbiter could not receive heartbeats to the time of the last one. */
  forgive(silence: number): void {
    this.#beatAt += silence
  }

  /** Orders it to drain. Returns false, without any effect, if an earlier order was at least as strict. */
  drain({ delay, grace, isStop }: Drain): boolean {
    const killAt = performance.now() + delay + grace + closingTime
    const isSooner = killAt < (this.#killAt ?? Number.POSITIVE_INFINITY)
    const isNews = isStop && !this.#knowsOfStop
    if (!isSooner && !isNews) return false
    this.#state = 'draining'
    this.#knowsOfStop ||= isStop
    if (isSooner) this.#killAt = killAt
    this.send({ type: 'drain', delay, grace, isStop })
    return true
  }

  /** Aborts it because it sends no heartbeats. If it does not die, the plan calls `kill`. */
  abort(): void {
    this.#abortedAt = performance.now()
    this.#child.kill('SIGABRT')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** As `kill`, but as a process that was asked to exit: its death is not a failure. */
  discard(): void {
    this.#state = 'draining'
    this.kill()
  }

  /**
   * The signal with which somebody other than the arbiter requested the exit; undefined if it exited for another reason, such as
   * an uncaught exception (status 1).
   */
  requestOf(code: number | null, signal: NodeJS.Signals | null): string | undefined {
    if (isStopSignal(signal)) return signal ?? undefined
    return code === 1 ? undefined : this.#signal
  }

  /** Why it failed to boot. */
  explainFailure(kind: Kind, code: number | null, signal: NodeJS.Signals | null): string {
    if (this.#refusal !== undefined) return this.#refusal
    const waited = ((this.#abortedAt ?? 0) - this.startedAt) / 1000
    const late = this.#abortedAt === undefined ? '' : `not ready after ${Math.round(waited)} seconds, `
    return `A ${kind} failed to boot: ${late}it exited with ${signal ?? `code ${code}`}.`
  }
}

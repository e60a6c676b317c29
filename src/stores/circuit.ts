import { KeyturnError } from '../errors.ts'

/*
 * A circuit breaker in front of a store. Without one, requests pile up behind a store that hangs: each waits for its time-out,
 * new ones arrive faster than old ones give up, and the store receives all of them when it is back.
 *
 *   closed ── three time-outs in a row ──> open ── the store answers ──> half-open ── five seconds ──> closed
 *                                            ^                               │
 *                                            └────────── a time-out ─────────┘
 *
 * closed     All calls pass.
 * open       Calls are refused at once. Once a second one of them probes the store first, and passes if it answers.
 * half-open  A growing share of the calls passes, from a tenth to all of them, so that a store that has just come back is not
 *            met by every client at once. A call passes in any case while few others wait, so that a quiet service refuses none.
 *
 * A call that fails at once, as with a refused connection or a full store, opens nothing: no request waits for it, and reads
 * may still work.
 *
 * A call with `patienceMs` waits no longer than that, but only the time-outs of the store itself open the circuit. While the
 * store is late for such a call, other calls with `patienceMs` are refused at once, except one per second: see
 * src/limits/limiter.ts.
 */

export type CircuitState = 'closed' | 'open' | 'half-open'

export interface CircuitOptions {
  /** The store's name, for errors. */
  readonly name: StoreName
  /** Resolves when the store answers. It has a time-out of its own. */
  readonly probe: () => Promise<unknown>
  readonly observer?: StoreObserver | undefined
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number
}

export type StoreName = 'Redis' | 'PostgreSQL' | 'SQLite'

/** What happens between this process and its stores, for the log, the metrics and the traces. */
export interface StoreObserver {
  /** At every change of a circuit's state, with the error that opened it. */
  changed?(store: StoreName, state: CircuitState, cause?: unknown): void
  /** After each call: its duration in milliseconds, and how it failed. */
  called?(store: StoreName, ms: number, error?: unknown): void
  /**
   * Called after each wait of a caller, in the caller's asynchronous context: for a call that several callers share, once for
   * each, and also if an open circuit refused it. `operation` contains no values, only the names of our own operations and
   * tables.
   */
  waited?(store: StoreName, operation: string, ms: number, error?: unknown): void
}

/** The result of `wait`, which is reported as what a caller waited for. */
export async function watched<T>(
  { waited }: StoreObserver,
  store: StoreName,
  operation: string,
  wait: () => Promise<T>
): Promise<T> {
  if (waited === undefined) return await wait()
  const startedAt = performance.now()
  try {
    const result = await wait()
    waited(store, operation, performance.now() - startedAt)
    return result
  } catch (error) {
    waited(store, operation, performance.now() - startedAt, error)
    throw error
  }
}

export interface CallOptions {
  /** What the caller waits for; undefined if `call` is for several callers. */
  readonly operation?: string
  /** How many callers wait for this call. */
  readonly callers?: number
  /** How long the caller waits, in milliseconds; by default until the store's own time-out. */
  readonly patienceMs?: number
}

/** One or two time-outs may be lost packets. */
const maxTimeouts = 3

/** Milliseconds between two probes. */
const interval = 1000

/**
 * The maximum number of waiting callers of one process: ten times those of a busy worker, and as many as a store serves in a
 * fraction of a second.
 */
export const maxWaiting = 500

/** How long the circuit is half-open, in milliseconds, and the share of calls that pass at its beginning. */
const rampMs = 5000
const firstShare = 0.1

/**
 * The number of calls that always pass: those of one request, such as a login, which reads a user and a decoy concurrently, and
 * of our polls.
 */
const maxQuiet = 4

/**
 * The length of a slice in milliseconds. All calls pass in a part of each slice, and none in the rest: the calls of one request
 * follow each other within a few milliseconds, so most of them pass or are refused together.
 */
const sliceMs = 100

export interface Circuit {
  /**
   * The result of `call`. Throws KeyturnError STORE_DOWN, without calling, as the state demands and when too many wait; and
   * after `patienceMs`.
   */
  run<T>(call: () => Promise<T>, options?: CallOptions): Promise<T>
}

export class CircuitBreaker implements Circuit {
  readonly #name: StoreName
  readonly #probe: () => Promise<unknown>
  readonly #observer: StoreObserver
  readonly #now: () => number
  #state: CircuitState = 'closed'
  #since = Number.NEGATIVE_INFINITY
  #waiting = 0
  #timeouts = 0
  #answeredAt = Number.NEGATIVE_INFINITY
  #probedAt = Number.NEGATIVE_INFINITY
  /** When a call with `patienceMs` last timed out or was admitted since then; undefined once the store has answered. */
  #lateAt: number | undefined

  constructor({ name, probe, observer = {}, now = () => performance.now() }: CircuitOptions) {
    this.#name = name
    this.#probe = probe
    this.#observer = observer
    this.#now = now
  }

  run<T>(call: () => Promise<T>, { operation, callers = 1, patienceMs }: CallOptions = {}): Promise<T> {
    const pass = (): Promise<T> =>
      patienceMs === undefined ? this.#pass(call, callers) : this.#passWithin(patienceMs, call, callers)
    return operation === undefined ? pass() : watched(this.#observer, this.#name, operation, pass)
  }

  async #pass<T>(call: () => Promise<T>, callers: number): Promise<T> {
    if (this.#state === 'open') await this.#probeOnce()
    else if (this.#state === 'half-open') this.#takeShare()
    if (this.#waiting >= maxWaiting) throw this.#refusal(`${this.#waiting} calls are already waiting`)
    const startedAt = this.#now()
    this.#waiting += callers
    try {
      const result = await call()
      this.#answered()
      this.#observer.called?.(this.#name, this.#now() - startedAt)
      return result
    } catch (error) {
      this.#failed(error, startedAt)
      this.#observer.called?.(this.#name, this.#now() - startedAt, error)
      throw error
    } finally {
      this.#waiting -= callers
    }
  }

  async #passWithin<T>(patienceMs: number, call: () => Promise<T>, callers: number): Promise<T> {
    const startedAt = this.#now()
    if (this.#lateAt !== undefined) {
      if (startedAt - this.#lateAt < interval) throw this.#refusal('no answer a moment ago')
      this.#lateAt = startedAt
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        if (this.#answeredAt < startedAt) this.#lateAt = this.#now()
        reject(this.#refusal(`no answer after ${patienceMs} ms`))
      }, patienceMs)
    })
    try {
      return await Promise.race([this.#pass(call, callers), late])
    } finally {
      clearTimeout(timer)
    }
  }

  async #probeOnce(): Promise<void> {
    if (this.#now() - this.#probedAt < interval) throw this.#refusal(`circuit open; next probe in ${interval / 1000} s`)
    this.#probedAt = this.#now()
    await this.#probe()
    this.#answered()
  }

  #takeShare(): void {
    const elapsed = this.#now() - this.#since
    if (elapsed >= rampMs) {
      this.#become('closed')
      return
    }
    const share = firstShare + (1 - firstShare) * (elapsed / rampMs)
    if (this.#waiting >= maxQuiet && elapsed % sliceMs >= share * sliceMs)
      throw this.#refusal(`circuit half-open; ${Math.floor(share * 100)} % of calls pass`)
  }

  #answered(): void {
    this.#timeouts = 0
    this.#answeredAt = this.#now()
    this.#lateAt = undefined
    if (this.#state === 'open') this.#become('half-open')
  }

  #failed(error: unknown, startedAt: number): void {
    // A call that started before the last answer says nothing about the time since.
    if (!isTimeout(error) || startedAt < this.#answeredAt) return
    this.#timeouts += 1
    if (this.#state === 'closed' && this.#timeouts < maxTimeouts) return
    this.#probedAt = this.#now()
    if (this.#state !== 'open') this.#become('open', error)
  }

  #become(state: CircuitState, cause?: unknown): void {
    this.#state = state
    this.#since = this.#now()
    this.#observer.changed?.(this.#name, state, cause)
  }

  #refusal(reason: string): KeyturnError {
    return new KeyturnError('STORE_DOWN', { detail: `${this.#name}: ${reason}`, retryAfter: interval / 1000 })
  }
}

/**
 * The only text that the errors of ioredis ("Command timed out"), pg ("Query read timeout") and the system (ETIMEDOUT) have in
 * common.
 */
const isTimeout = (error: unknown): boolean => /timed? ?out/i.test((error as Error).message)

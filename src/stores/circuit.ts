import { KeyturnError } from '../errors.ts'

/**
 * Keeps requests from piling up behind a store that hangs. Each would wait out its time-out, and new ones come faster than
 * old ones give up: within seconds a process holds thousands, and the store is met by all of them when it is back.
 *
 *   closed ── time-outs in a row ──> open ── the store answers ──> closed
 *
 * While it is open, calls are refused at once; about once a second one of them asks the store first, and goes on if it answers.
 * What fails at once, as a refused connection or a full store, opens nothing: nobody waits for it, and reads may still work.
 */
export interface Circuit {
  /**
   * What `call` gives; so many `callers` wait for it. Throws KeyturnError STORE_DOWN, without calling, while the store hangs and
   * when too many wait.
   */
  run<T>(call: () => Promise<T>, callers?: number): Promise<T>
}

export interface CircuitOptions {
  /** Of the store, for the log. */
  readonly name: string
  /** Resolves when the store answers. It has a time-out of its own. */
  readonly probe: () => Promise<unknown>
  /** Milliseconds of a clock that nobody can set. */
  readonly now?: () => number
}

/** One or two may be a lost packet. */
const mostTimeouts = 3

/** Between two probes, in milliseconds: what a client is told to wait. */
const interval = 1000

/** Callers of one process that wait. Ten times what a worker that is busy has, and what a store serves in a fraction of a second. */
export const mostWaiting = 500

export function makeCircuit({ name, probe, now = () => performance.now() }: CircuitOptions): Circuit {
  let isOpen = false
  let waiting = 0
  let timeouts = 0
  let answeredAt = Number.NEGATIVE_INFINITY
  let probedAt = Number.NEGATIVE_INFINITY

  const refuse = (why: string): KeyturnError =>
    new KeyturnError('STORE_DOWN', { detail: `${name}: ${why}`, retryAfter: interval / 1000 })

  const answered = (): void => {
    isOpen = false
    timeouts = 0
    answeredAt = now()
  }

  const failed = (error: unknown, begunAt: number): void => {
    // A call from before the last answer tells of a time that is over.
    if (!isTimeout(error) || begunAt < answeredAt) return
    timeouts += 1
    if (timeouts < mostTimeouts) return
    isOpen = true
    probedAt = now()
  }

  /** While it is open. */
  const pass = async (): Promise<void> => {
    if (now() - probedAt < interval) throw refuse('it hangs, and is asked again in a second')
    probedAt = now()
    await probe()
    answered()
  }

  return {
    async run(call, callers = 1) {
      if (isOpen) await pass()
      if (waiting >= mostWaiting) throw refuse(`${waiting} calls wait already`)
      const begunAt = now()
      waiting += callers
      try {
        const result = await call()
        answered()
        return result
      } catch (error) {
        failed(error, begunAt)
        throw error
      } finally {
        waiting -= callers
      }
    }
  }
}

/** ioredis ("Command timed out"), pg ("Query read timeout") and the system (ETIMEDOUT) have no word in common but this. */
const isTimeout = (error: unknown): boolean => /timed? ?out/i.test((error as Error).message)

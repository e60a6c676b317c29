import { setTimeout as delay } from 'node:timers/promises'
import type { Counters } from './counters.ts'

export interface Patience {
  /** How long an answer is waited for, in milliseconds. */
  readonly patienceMs?: number
  /** How long nobody asks again after a failure, in milliseconds. */
  readonly pauseMs?: number
  /** Told when an outage begins, with its error, and when it is over. */
  readonly tell?: (error: unknown) => void
  /** Milliseconds since some moment. */
  readonly now?: () => number
}

/**
 * The same counters, for requests that must not wait for them: whoever has not answered after a quarter of a second has
 * failed, and after a failure one request a second asks again while all others fail at once. So a store that hangs slows
 * down one request a second, by a quarter of a second.
 */
export function makeImpatient(
  counters: Counters,
  { patienceMs = 250, pauseMs = 1000, tell = () => {}, now = () => performance.now() }: Patience = {}
): Counters {
  let isAway = false
  let askAgainAt = 0
  return {
    async add(name, window) {
      if (isAway && now() < askAgainAt) throw new Error('the counters did not answer a moment ago')
      // The next one is to wait, while this one finds out.
      if (isAway) askAgainAt = now() + pauseMs
      try {
        const count = await answered(counters.add(name, window), patienceMs)
        if (isAway) tell(undefined)
        isAway = false
        return count
      } catch (error) {
        if (!isAway) tell(error)
        isAway = true
        askAgainAt = now() + pauseMs
        throw error
      }
    }
  }
}

async function answered<T>(answer: Promise<T>, patienceMs: number): Promise<T> {
  const enough = new AbortController()
  const overdue = async (): Promise<never> => {
    await delay(patienceMs, undefined, { signal: enough.signal })
    throw new Error(`no answer after ${patienceMs} ms`)
  }
  try {
    return await Promise.race([answer, overdue()])
  } finally {
    enough.abort()
  }
}

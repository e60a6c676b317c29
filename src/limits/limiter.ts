import { KeyturnError } from '../errors.ts'
import type { Count, Counters, OwnCounters } from './counters.ts'

/** At most `max` in `window` whole seconds. */
export interface Limit {
  readonly max: number
  readonly window: number
  /** Whether requests are refused while the shared counter is unavailable. Otherwise this process counts them alone. */
  readonly isClosed: boolean
}

export interface Limiter {
  /** Counts a request of `name`. Throws KeyturnError STORE_DOWN if it cannot be counted and the limit fails closed. */
  count(name: string, limit: Limit): Promise<Count>
  /** The seconds until `name` may send another request, if it has exhausted its limit as far as this process knows. */
  waitFor(name: string, limit: Limit): number | undefined
}

/**
 * Counts in `shared`, together with all other processes; if there is none, or it fails, in `own`, which continues from the last
 * shared count. A count takes at most one command: this process remembers until the end of the window that a limit is
 * exhausted, so a refused request costs the store nothing.
 *
 * @param report - called with the error when counts begin to fail, and with undefined when they work again; not about calls
 *   that a circuit refuses, which reports for itself
 */
export function makeLimiter(
  shared: Counters | undefined,
  own: OwnCounters,
  report: (error: unknown) => void = () => {}
): Limiter {
  let isFailing = false
  const note = (error: unknown): void => {
    if (error instanceof KeyturnError) return
    if (isFailing !== (error !== undefined)) report(error)
    isFailing = error !== undefined
  }
  const isUsedUp = (count: Count | undefined, { max }: Limit): count is Count =>
    count !== undefined && count.number > max
  return {
    async count(name, limit) {
      if (shared === undefined || isUsedUp(own.find(name), limit)) return await own.add(name, limit.window)
      try {
        const count = await shared.add(name, limit.window)
        note(undefined)
        own.keep(name, count)
        return count
      } catch (cause) {
        note(cause)
        if (limit.isClosed)
          throw new KeyturnError('STORE_DOWN', { detail: 'rate limits: not counted', retryAfter: 1, cause })
        return await own.add(name, limit.window)
      }
    },
    waitFor(name, { max }) {
      const count = own.find(name)
      return count !== undefined && count.number >= max ? count.left : undefined
    }
  }
}

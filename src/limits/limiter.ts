import { KeyturnError } from '../errors.ts'
import type { Count, Counters, OwnCounters } from './counters.ts'

/** At most `max` in `window` whole seconds. */
export interface Limit {
  readonly max: number
  readonly window: number
  /** Whether what cannot be counted together with the others is refused. Otherwise this process counts it alone. */
  readonly isClosed: boolean
}

export interface Limiter {
  /** Counts one more of `name`. Throws KeyturnError STORE_DOWN when it cannot be counted and the limit is closed. */
  count(name: string, limit: Limit): Promise<Count>
  /** The seconds until `name` may come again, where it has used its limit up, as far as this process knows without asking. */
  waitFor(name: string, limit: Limit): number | undefined
}

/**
 * Counts in `shared`, with all other processes; where there is none, or it fails, in `own`, which goes on from the last
 * count that was heard. One question a count at most: what has used its limit up is known without asking until its window
 * ends, so whoever is refused costs the store nothing.
 */
export function makeLimiter(shared: Counters | undefined, own: OwnCounters): Limiter {
  const isUsedUp = (count: Count | undefined, { max }: Limit): count is Count =>
    count !== undefined && count.number > max
  return {
    async count(name, limit) {
      if (shared === undefined || isUsedUp(own.find(name), limit)) return await own.add(name, limit.window)
      try {
        const count = await shared.add(name, limit.window)
        own.keep(name, count)
        return count
      } catch (cause) {
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

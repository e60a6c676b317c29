import type { Counters } from '../../limits/counters.ts'
import type { GuessStore } from '../../passwords/guessing.ts'
import type { SessionPolicy } from '../../sessions/session.ts'
import type { RevocationFeed, SessionStore } from '../../sessions/store.ts'
import type { StoreObserver } from '../circuit.ts'
import { openRedisCounters } from './counters.ts'
import { evictionWarning, makeRedisCircuit, openReader, openRedis, type RedisOptions } from './client.ts'
import { FeedEpoch } from './epoch.ts'
import { followRedisFeed } from './feed.ts'
import { openRedisGuesses } from './guesses.ts'
import { makeNames } from './names.ts'
import { openRedisSessions } from './sessions.ts'

export interface RedisStoreOptions extends RedisOptions {
  readonly policy: SessionPolicy
  /** How long a revocation matters, in whole seconds. */
  readonly window: number
  readonly observer?: StoreObserver | undefined
}

/**
 * Sessions, their revocation feed, guesses and the counters of rate limits on the Redis at `url`. Throws KeyturnError
 * STORE_DOWN if it does not respond.
 */
export async function openRedisStore(
  url: string,
  { policy, window, observer, ...options }: RedisStoreOptions
): Promise<{
  sessions: SessionStore
  feed: RevocationFeed
  counters: Counters
  guesses: GuessStore
  warnings: readonly string[]
}> {
  const redis = await openRedis(url, options)
  const warning = await evictionWarning(redis)
  const [names, circuit] = [makeNames(), makeRedisCircuit(redis, observer)]
  const epoch = new FeedEpoch(names)
  return {
    warnings: warning === undefined ? [] : [warning],
    sessions: openRedisSessions(redis, policy, window, { names, circuit, epoch }),
    counters: openRedisCounters(redis, names, circuit),
    guesses: openRedisGuesses(redis, { names, circuit }),
    // The feed's reader blocks, so it has a connection of its own.
    feed: { follow: async (replica) => followRedisFeed(await openReader(url, options), names, replica, epoch) }
  }
}

import { KeyturnError } from '../errors.ts'
import { type Clock, monotonicClock } from '../time.ts'

/** One entry of the revocation feed: a `sid` or a `jti`, never a token's bytes (a signature can be re-encoded). */
export interface Revocation {
  readonly id: string
  /** Whole seconds since 1970. */
  readonly revokedAt: number
}

/**
 * This worker's replica of the revocation list: every id revoked so lately that an access token of it may still be alive.
 * A follower keeps it up to date (src/stores/redis/feed.ts, src/stores/embedded/feed.ts); verifying asks nobody else.
 */
export interface Revocations {
  /** Whether one of the ids is revoked. Throws KeyturnError STORE_DOWN when the feed has been silent for too long: closed, not open. */
  has(...ids: readonly (string | undefined)[]): boolean
  /** Takes note of revocations; knowing one twice does no harm. */
  add(revocations: readonly Revocation[]): void
  /** The feed has answered just now: all that was revoked until then is known. */
  heard(): void
  /** The feed could not be read. It is tried again; when it has been silent for too long, this is told as the reason. */
  lost(error: unknown): void
  /** Whether the feed has been silent for longer than REVOCATION_STALENESS. */
  isStale(): boolean
}

export interface RevocationLimits {
  /** How long an entry matters, in whole seconds: the lifetime of an access token. */
  readonly window: number
  /** How long the feed may be silent, in whole seconds. */
  readonly staleness: number
  /** Entries held at most. Beyond it not every revocation can be known, so nothing is verified any more. */
  readonly most?: number
}

/** An empty replica: stale until its follower has read the feed for the first time. */
export function makeRevocations(
  { window, staleness, most = 1_000_000 }: RevocationLimits,
  clock: Clock,
  monotonic: Clock = monotonicClock
): Revocations {
  // In the order of revocation, so that what has expired is at the front.
  const until = new Map<string, number>()
  let heardAt = Number.NEGATIVE_INFINITY
  let reason: unknown
  const isStale = (): boolean => monotonic() - heardAt > staleness || until.size > most
  const forgetExpired = (): void => {
    for (const [id, end] of until) {
      if (end > clock()) return
      until.delete(id)
    }
  }
  const silent = (): KeyturnError =>
    new KeyturnError('STORE_DOWN', { detail: 'the revocation feed is silent', retryAfter: 1, cause: reason })
  return {
    has(...ids) {
      if (isStale()) throw silent()
      return ids.some((id) => id !== undefined && until.has(id))
    },
    add(revocations) {
      for (const { id, revokedAt } of revocations) until.set(id, revokedAt + window)
    },
    heard() {
      heardAt = monotonic()
      forgetExpired()
    },
    lost(error) {
      reason = error
    },
    isStale
  }
}

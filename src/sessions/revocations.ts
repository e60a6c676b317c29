import { KeyturnError } from '../errors.ts'
import { type Clock, monotonicClock } from '../time.ts'

/** One entry of the revocation feed: a `sid` or a `jti`, never a token's bytes (a signature can be re-encoded). */
export interface Revocation {
  readonly id: string
  /** Whole seconds since 1970, by the clock of the store. */
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

/** When an entry may be forgotten: whole seconds of the wall clock, and of the one that nobody can set. */
interface Term {
  readonly wall: number
  readonly steady: number
}

export interface RevocationLimits {
  /** How long an entry matters, in whole seconds: the lifetime of an access token. */
  readonly window: number
  /** How long the feed may be silent, in whole seconds. */
  readonly staleness: number
  /** Entries held at most. Beyond it not every revocation can be known, so nothing is verified any more. */
  readonly most?: number
}

/**
 * An empty replica: stale until its follower has read the feed for the first time.
 *
 * An entry is forgotten once its time has passed by both clocks. Tokens expire by the wall clock, which may be set: were it
 * alone, an hour forward would forget what is needed again an hour back; were it ignored, a token that was made while it was
 * ahead would outlive its entry.
 */
export function makeRevocations(
  { window, staleness, most = 1_000_000 }: RevocationLimits,
  clock: Clock,
  monotonic: Clock = monotonicClock
): Revocations {
  // In the order in which they were heard, so that what has expired is at the front.
  const terms = new Map<string, Term>()
  let heardAt = Number.NEGATIVE_INFINITY
  let reason: unknown
  const isStale = (): boolean => monotonic() - heardAt > staleness || terms.size > most
  const forgetExpired = (): void => {
    for (const [id, { wall, steady }] of terms) {
      if (clock() < wall || monotonic() < steady) return
      terms.delete(id)
    }
  }
  const silent = (): KeyturnError =>
    new KeyturnError('STORE_DOWN', { detail: 'the revocation feed is silent', retryAfter: 1, cause: reason })
  return {
    has(...ids) {
      if (isStale()) throw silent()
      return ids.some((id) => id !== undefined && terms.has(id))
    },
    add(revocations) {
      for (const { id, revokedAt } of revocations) {
        terms.delete(id)
        terms.set(id, { wall: Math.max(revokedAt, clock()) + window, steady: monotonic() + window })
      }
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

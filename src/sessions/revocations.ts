import { KeyturnError } from '../errors.ts'
import { type Clock, monotonicClock } from '../time.ts'
import { type Revocation, RevocationLog, type Term } from './revocation-log.ts'

export type { Revocation } from './revocation-log.ts'

/** What a listener hears of a replica. */
export interface RevocationListener {
  /** The log has new entries. */
  added(): void
  /** The list is another one than before: its epoch has changed. */
  restarted(): void
  heard(): void
}

/** What of a token decides whether it is revoked. */
export interface RevocableClaims {
  readonly sid?: string | undefined
  readonly jti?: string | undefined
  readonly iat?: number | undefined
  readonly client_id?: string | undefined
}

/**
 * This worker's replica of the revocation list: every id revoked so lately that an access token of it may still be alive.
 * A follower keeps it up to date (src/stores/redis/feed.ts, src/stores/embedded/feed.ts); verification needs no other source.
 */
export interface Revocations {
  /**
   * Whether the token is revoked, by its session or by itself, or may have been: a token of ours that was issued before a
   * loss of the list. Throws KeyturnError STORE_DOWN when the feed has been silent for too long: closed, not open.
   */
  has(claims: RevocableClaims): boolean
  /** Takes note of revocations; knowing one twice does no harm. */
  add(revocations: readonly Revocation[]): void
  /** What it knows, in the order in which it heard of it: for receivers in other services. */
  readonly log: RevocationLog
  /** Takes note of the epoch of the list. */
  began(epoch: number): void
  /**
   * All that was revoked before this second is lost. `now` is the time by the clock that it was read from; without it, that of this
   * host, whose clock dates tokens and need not agree with the clock of the store.
   */
  lostBefore(second: number, now?: number): void
  /** Has the feed read before each answer: for one that costs next to nothing to read. It reports its own failures. */
  readFirst(read: (() => void) | undefined): void
  /** Reads such a feed now; the others come by themselves. */
  catchUp(): void
  /** Reads such a feed, and throws KeyturnError STORE_DOWN when the feed has been silent for too long. */
  demandFresh(): void
  /** The feed has answered just now: all that was revoked until then is known. */
  heard(): void
  /** The feed could not be read. It is retried; once it has been silent for too long, this is logged as the reason. */
  lost(error: unknown): void
  /** Whether the feed has been silent for longer than REVOCATION_STALENESS. */
  isStale(): boolean
  /** Milliseconds since the feed was heard. */
  ageMs(): number
  /** The second of `lostBefore`, for as long as it matters. */
  lossBefore(): number | undefined
  /** There is one listener; another one replaces it. */
  listen(listener: RevocationListener): void
}

export interface RevocationLimits {
  /** How long an entry matters, in whole seconds: the lifetime of an access token. */
  readonly window: number
  /** How long the feed may be silent, in whole seconds. */
  readonly staleness: number
  /**
   * Ids held at most, and half of the entries: an id may be revoked again. Beyond it not every revocation can be known, so
   * nothing is verified any more.
   */
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
  // Each in the order in which they were heard, so that what has expired is at the front.
  const [sids, jtis] = [new Map<string, Term>(), new Map<string, Term>()]
  const log = new RevocationLog()
  let heardAt = Number.NEGATIVE_INFINITY
  let heardAtMs = Number.NEGATIVE_INFINITY
  let listener: RevocationListener | undefined
  let reason: unknown
  let loss: (Term & { readonly before: number }) | undefined
  let read: (() => void) | undefined
  const isStale = (): boolean =>
    monotonic() - heardAt > staleness || sids.size + jtis.size > most || log.end - log.first > 2 * most
  const isPast = ({ wall, steady }: Term): boolean => clock() >= wall && monotonic() >= steady
  const termOf = (revokedAt: number): Term => ({
    wall: Math.max(revokedAt, clock()) + window,
    steady: monotonic() + window
  })
  const forgetExpired = (terms: Map<string, Term>): void => {
    for (const [id, term] of terms) {
      if (!isPast(term)) return
      terms.delete(id)
    }
  }
  const silent = (): KeyturnError =>
    new KeyturnError('STORE_DOWN', { detail: 'the revocation feed is silent', retryAfter: 1, cause: reason })
  const demandFresh = (): void => {
    read?.()
    if (isStale()) throw silent()
  }
  /** Only our own tokens could have been revoked here by their session or client, and ours always have an `iat`. */
  const mayBeLost = ({ sid, client_id, iat }: RevocableClaims): boolean =>
    loss !== undefined && iat !== undefined && iat < loss.before && (sid !== undefined || client_id !== undefined)
  return {
    log,
    demandFresh,
    catchUp() {
      read?.()
    },
    has(claims) {
      demandFresh()
      const { sid, jti } = claims
      return (sid !== undefined && sids.has(sid)) || (jti !== undefined && jtis.has(jti)) || mayBeLost(claims)
    },
    add(revocations) {
      for (const revocation of revocations) {
        const { kind, id } = revocation
        const term = termOf(revocation.revokedAt)
        log.append({ ...revocation, term })
        for (const terms of kind === 'any' ? [sids, jtis] : kind === 'sid' ? [sids] : [jtis]) {
          terms.delete(id)
          terms.set(id, term)
        }
      }
      listener?.added()
    },
    began(epoch) {
      if (log.began(epoch)) listener?.restarted()
    },
    lostBefore(second, now = clock()) {
      const before = second + clock() - now
      if (before > (loss?.before ?? 0)) loss = { before, ...termOf(before) }
    },
    readFirst(reader) {
      read = reader
    },
    heard() {
      heardAt = monotonic()
      heardAtMs = performance.now()
      forgetExpired(sids)
      forgetExpired(jtis)
      log.forget(isPast)
      if (loss !== undefined && isPast(loss)) loss = undefined
      listener?.heard()
    },
    lost(error) {
      reason = error
    },
    isStale,
    ageMs: () => Math.ceil(performance.now() - heardAtMs),
    lossBefore: () => loss?.before,
    listen(another) {
      listener = another
    }
  }
}

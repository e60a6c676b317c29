import { KeyturnError } from '../errors.ts'
import { type Clock, monotonicClock } from '../time.ts'
import { type Revocation, RevocationLog, type Term } from './revocation-log.ts'

export type { Revocation } from './revocation-log.ts'

/** The notifications of a replica to its listener. */
export interface RevocationListener {
  /** The log has new entries. */
  added(): void
  /** The list has been replaced by another one: its epoch has changed. */
  restarted(): void
  heard(): void
}

/** The claims that decide whether a token is revoked. */
export interface RevocableClaims {
  readonly sid?: string | undefined
  readonly jti?: string | undefined
  readonly iat?: number | undefined
  readonly client_id?: string | undefined
}

/**
 * This worker's replica of the revocation list: every id that was revoked so recently that one of its access tokens may not
 * have expired yet. A follower keeps it up to date (src/stores/redis/feed.ts, src/stores/embedded/feed.ts); verification needs
 * no other source.
 */
export interface Revocations {
  /**
   * Whether the token is revoked, by its session or individually, or may have been: a token of ours that was issued before the
   * list was lost. Fails closed: throws KeyturnError STORE_DOWN if the feed has been silent for too long.
   */
  has(claims: RevocableClaims): boolean
  /** Adds revocations. Adding one twice does no harm. */
  add(revocations: readonly Revocation[]): void
  /** The known revocations in the order in which they were received, for receivers in other services. */
  readonly log: RevocationLog
  /** Records the epoch of the list. */
  began(epoch: number): void
  /**
   * Records that all revocations from before this second are lost. `now` is the time by the clock from which `second` was read;
   * by default, the clock of this host, which dates tokens and need not agree with that of the store.
   */
  lostBefore(second: number, now?: number): void
  /**
   * Makes the replica read the feed before each answer, for a feed that is very cheap to read. The feed reports its own
   * failures.
   */
  readFirst(read: (() => void) | undefined): void
  /** Reads such a feed now; other feeds are followed in the background. */
  catchUp(): void
  /** Reads such a feed, and throws KeyturnError STORE_DOWN when the feed has been silent for too long. */
  demandFresh(): void
  /** Records that the feed has just been read: all revocations until now are known. */
  heard(): void
  /**
   * Records that the feed could not be read. Reading is retried; once the feed has been silent for too long, this error is
   * logged as the reason.
   */
  lost(error: unknown): void
  /** Whether the feed has been silent for longer than REVOCATION_STALENESS. */
  isStale(): boolean
  /** Milliseconds since the feed was last read. */
  ageMs(): number
  /** The second of `lostBefore`, for as long as it matters. */
  lossBefore(): number | undefined
  /** Sets the listener, which replaces an earlier one. */
  listen(listener: RevocationListener): void
}

export interface RevocationLimits {
  /** How long an entry matters, in whole seconds: the lifetime of an access token. */
  readonly window: number
  /** How long the feed may be silent, in whole seconds. */
  readonly staleness: number
  /**
   * The maximum number of ids, and half that of entries, since an id may be revoked again. Beyond it, not every revocation can
   * be known, so no token is verified any more.
   */
  readonly maxIds?: number
}

/**
 * The replica; empty and stale until its follower has read the feed for the first time.
 *
 * An entry is dropped once its time has passed by both clocks. Tokens expire by the wall clock, which may be set. If only the
 * wall clock counted, setting it forward would drop entries that are needed again when it is set back. If it were ignored, a
 * token that was issued while it was ahead would outlive its entry.
 */
export class RevocationReplica implements Revocations {
  readonly log = new RevocationLog()
  // Each map is in the order of arrival, so that expired entries are at the front.
  readonly #sids = new Map<string, Term>()
  readonly #jtis = new Map<string, Term>()
  readonly #limits: Required<RevocationLimits>
  readonly #clock: Clock
  readonly #monotonic: Clock
  #heardAt = Number.NEGATIVE_INFINITY
  #heardAtMs = Number.NEGATIVE_INFINITY
  #listener: RevocationListener | undefined
  #reason: unknown
  #loss: (Term & { readonly before: number }) | undefined
  #read: (() => void) | undefined

  constructor(limits: RevocationLimits, clock: Clock, monotonic: Clock = monotonicClock) {
    this.#limits = { maxIds: 1_000_000, ...limits }
    this.#clock = clock
    this.#monotonic = monotonic
  }

  has(claims: RevocableClaims): boolean {
    this.demandFresh()
    const { sid, jti } = claims
    return (
      (sid !== undefined && this.#sids.has(sid)) ||
      (jti !== undefined && this.#jtis.has(jti)) ||
      this.#mayBeLost(claims)
    )
  }

  add(revocations: readonly Revocation[]): void {
    for (const revocation of revocations) {
      const { kind, id } = revocation
      const term = this.#termOf(revocation.revokedAt)
      this.log.append({ ...revocation, term })
      if (kind !== 'jti') moveToEnd(this.#sids, id, term)
      if (kind !== 'sid') moveToEnd(this.#jtis, id, term)
    }
    this.#listener?.added()
  }

  began(epoch: number): void {
    if (this.log.began(epoch)) this.#listener?.restarted()
  }

  lostBefore(second: number, now = this.#clock()): void {
    const before = second + this.#clock() - now
    if (before > (this.#loss?.before ?? 0)) this.#loss = { before, ...this.#termOf(before) }
  }

  readFirst(reader: (() => void) | undefined): void {
    this.#read = reader
  }

  catchUp(): void {
    this.#read?.()
  }

  demandFresh(): void {
    this.#read?.()
    if (this.isStale())
      throw new KeyturnError('STORE_DOWN', {
        detail: 'the revocation feed is silent',
        retryAfter: 1,
        cause: this.#reason
      })
  }

  heard(): void {
    this.#heardAt = this.#monotonic()
    this.#heardAtMs = performance.now()
    this.#forgetExpired(this.#sids)
    this.#forgetExpired(this.#jtis)
    this.log.forget((term) => this.#isPast(term))
    if (this.#loss !== undefined && this.#isPast(this.#loss)) this.#loss = undefined
    this.#listener?.heard()
  }

  lost(error: unknown): void {
    this.#reason = error
  }

  isStale(): boolean {
    const { staleness, maxIds } = this.#limits
    if (this.#monotonic() - this.#heardAt > staleness) return true
    return this.#sids.size + this.#jtis.size > maxIds || this.log.end - this.log.first > 2 * maxIds
  }

  ageMs(): number {
    return Math.ceil(performance.now() - this.#heardAtMs)
  }

  lossBefore(): number | undefined {
    return this.#loss?.before
  }

  listen(listener: RevocationListener): void {
    this.#listener = listener
  }

  /** Only our own tokens could have been revoked here by their session or client, and ours always have an `iat`. */
  #mayBeLost({ sid, client_id, iat }: RevocableClaims): boolean {
    const before = this.#loss?.before
    return before !== undefined && iat !== undefined && iat < before && (sid !== undefined || client_id !== undefined)
  }

  #termOf(revokedAt: number): Term {
    const { window } = this.#limits
    return { wall: Math.max(revokedAt, this.#clock()) + window, steady: this.#monotonic() + window }
  }

  #isPast({ wall, steady }: Term): boolean {
    return this.#clock() >= wall && this.#monotonic() >= steady
  }

  #forgetExpired(terms: Map<string, Term>): void {
    for (const [id, term] of terms) {
      if (!this.#isPast(term)) return
      terms.delete(id)
    }
  }
}

function moveToEnd(terms: Map<string, Term>, id: string, term: Term): void {
  terms.delete(id)
  terms.set(id, term)
}

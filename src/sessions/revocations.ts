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
 * The replica; empty and stale until its follower has read the feed for the first time.
 *
 * An entry is forgotten once its time has passed by both clocks. Tokens expire by the wall clock, which may be set: were it
 * alone, an hour forward would forget what is needed again an hour back; were it ignored, a token that was made while it was
 * ahead would outlive its entry.
 */
export class RevocationReplica implements Revocations {
  readonly log = new RevocationLog()
  // Each in the order in which they were heard, so that what has expired is at the front.
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
    this.#limits = { most: 1_000_000, ...limits }
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
    const { staleness, most } = this.#limits
    if (this.#monotonic() - this.#heardAt > staleness) return true
    return this.#sids.size + this.#jtis.size > most || this.log.end - this.log.first > 2 * most
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

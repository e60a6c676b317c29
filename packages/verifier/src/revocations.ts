import type { Time } from './time.ts'

/** A session that ended, or a token that was revoked by itself. */
export type Revocation = ({ readonly sid: string } | { readonly jti: string }) & {
  /** Seconds since 1970: no token of it is valid for longer. */
  readonly until: number
}

/** What the service reports of its list. */
export interface ListStatus {
  /** Tokens issued before this second are refused: the list of what was revoked until then is lost. Null: nothing is lost. */
  readonly lostBefore: number | null
  /** How long an entry can matter, in seconds. */
  readonly window: number
  /** Everything acknowledged longer ago than this, in seconds, has been received. */
  readonly age: number
}

/** When entries may be forgotten: once both clocks have passed. One object for all entries that came together. */
interface Term {
  readonly wall: number
  readonly steady: number
}

/** The claims that decide whether a token is revoked. */
export interface RevocableClaims {
  readonly sid?: unknown
  readonly jti?: unknown
  readonly iat?: unknown
  readonly client_id?: unknown
}

export interface RevocationLimits {
  /** For how many seconds the stream may be silent. */
  readonly staleness: number
  /** Entries held at most. Beyond it not every revocation can be known. */
  readonly maxEntries?: number
}

/** How long an entry is kept by the monotonic clock until the service has reported its window, in seconds. */
const initialWindow = 3600

/**
 * This process's copy of the list of revocations. It never drops an entry before its time, whatever the stream sends: a revoked
 * token stays revoked.
 *
 * An entry is dropped once its time has passed by both clocks. Tokens expire by the wall clock, which may be set: if only that
 * counted and it were ahead for a while, entries would be dropped that are needed again once it is corrected.
 */
export class Revocations {
  readonly #sids = new Map<string, Term>()
  readonly #jtis = new Map<string, Term>()
  readonly #time: Time
  readonly #staleness: number
  readonly #maxEntries: number
  #window = initialWindow
  #lostBefore: number | null = null
  #freshAt = Number.NEGATIVE_INFINITY

  constructor({ staleness, maxEntries = 1_000_000 }: RevocationLimits, time: Time) {
    this.#staleness = staleness
    this.#maxEntries = maxEntries
    this.#time = time
  }

  /** Whether the token is known to be revoked, or was issued before a loss of the list. */
  has({ sid, jti, iat, client_id }: RevocableClaims): boolean {
    if (this.#sids.has(sid as string) || this.#jtis.has(jti as string)) return true
    if (this.#lostBefore === null || (sid === undefined && client_id === undefined)) return false
    return typeof iat !== 'number' || iat < this.#lostBefore
  }

  /** Whether a token that is not in the list can be trusted not to be revoked. */
  isFresh(): boolean {
    return this.#time.monotonic() - this.#freshAt <= this.#staleness && this.size <= this.#maxEntries
  }

  add(revocations: readonly Revocation[]): void {
    const until = revocations.reduce((latest, each) => Math.max(latest, each.until), 0)
    const term: Term = { wall: until, steady: this.#time.monotonic() + this.#window }
    for (const each of revocations) {
      const [ids, id] = 'sid' in each ? [this.#sids, each.sid] : [this.#jtis, each.jti]
      ids.delete(id) // so that the oldest stay in front
      ids.set(id, term)
    }
  }

  /** All that was revoked until `status.age` ago has been added. */
  confirm({ lostBefore, window, age }: ListStatus): void {
    this.#window = window
    this.#lostBefore = lostBefore
    this.#freshAt = this.#time.monotonic() - age
    for (const ids of [this.#sids, this.#jtis]) this.#forgetExpired(ids)
  }

  /** The list has to be loaded again. Revoked tokens stay revoked; for all others, the state is unknown until `confirm`. */
  restart(): void {
    this.#freshAt = Number.NEGATIVE_INFINITY
  }

  get size(): number {
    return this.#sids.size + this.#jtis.size
  }

  #forgetExpired(ids: Map<string, Term>): void {
    const [now, monotonic] = [this.#time.now(), this.#time.monotonic()]
    for (const [id, { wall, steady }] of ids) {
      if (now < wall || monotonic < steady) return
      ids.delete(id)
    }
  }
}

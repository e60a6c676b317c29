/**
 * One entry of the revocation feed: a session by its `sid` or a token by its `jti`, never by its bytes (a signature can be
 * re-encoded). `any` is an entry of a version that did not distinguish the two.
 */
export interface Revocation {
  readonly kind: 'sid' | 'jti' | 'any'
  readonly id: string
  /** Where it is in the list: a number, or Redis' pair of milliseconds and a number. */
  readonly position: string
  /** Whole seconds since 1970, by the clock of the store. */
  readonly revokedAt: number
}

/** When an entry may be dropped: whole seconds of the wall clock and of the monotonic clock. */
export interface Term {
  readonly wall: number
  readonly steady: number
}

export interface LoggedRevocation extends Revocation {
  readonly term: Term
}

/** Whether the position `a` in a list comes before `b`: numbers, or Redis' pairs of milliseconds and a number. */
export function comesBefore(a: string, b: string): boolean {
  const [aTime = 0, aNumber = 0] = a.split('-').map(Number)
  const [bTime = 0, bNumber = 0] = b.split('-').map(Number)
  return aTime < bTime || (aTime === bTime && aNumber < bNumber)
}

/**
 * The revocations that this worker knows, in the order in which it learned of them. They are sent to receivers in other
 * services, from any place on. A place is the number of entries before it, including those that have been dropped.
 *
 * A receiver keeps its place as a cursor, which any worker can read: the epoch of the list, a dot, and the position of the last
 * entry that it has. A cursor is valid only if this worker has that entry. Comparing positions is not enough: after a failover,
 * a server whose clock is behind writes smaller positions.
 */
export class RevocationLog {
  #entries: LoggedRevocation[] = []
  /** The number of the first entry that is not forgotten, and the position of the one before it. */
  #first = 0
  #floor = '0'
  readonly #places = new Map<string, number>()
  #epoch = 0

  /** The first place, and the one after the last entry. */
  get first(): number {
    return this.#first
  }
  get end(): number {
    return this.#first + this.#entries.length
  }
  get epoch(): number {
    return this.#epoch
  }

  /** Records the epoch of the list. Returns true if it is another list than before. */
  began(epoch: number): boolean {
    const isOther = epoch !== this.#epoch
    this.#epoch = epoch
    return isOther
  }

  /** An entry that is read again stays where it is. */
  append(entry: LoggedRevocation): void {
    if (this.#places.has(entry.position)) return
    this.#entries.push(entry)
    this.#places.set(entry.position, this.end)
  }

  /** Forgets entries from the front, up to the first that is not past. */
  forget(isPast: (term: Term) => boolean): void {
    const kept = this.#entries.findIndex(({ term }) => !isPast(term))
    const count = kept < 0 ? this.#entries.length : kept
    if (count === 0) return
    const forgotten = this.#entries.splice(0, count)
    for (const { position } of forgotten) this.#places.delete(position)
    this.#first += count
    this.#floor = forgotten.at(-1)?.position ?? this.#floor
  }

  slice(from: number, to: number): readonly LoggedRevocation[] {
    return this.#entries.slice(from - this.#first, to - this.#first)
  }

  cursorAt(place: number): string {
    return `${this.#epoch}.${this.#positionBefore(place)}`
  }

  /** The place of a cursor; undefined if the cursor belongs to another list, is too old, or is not known here. */
  find(cursor: string): number | undefined {
    const position = this.#positionOf(cursor)
    return position === this.#floor ? this.#first : this.#places.get(position ?? '')
  }

  /** Whether a cursor that is not known here comes after all entries that are: another worker may have received more. */
  isAhead(cursor: string): boolean {
    const position = this.#positionOf(cursor)
    return position !== undefined && comesBefore(this.#positionBefore(this.end), position)
  }

  #positionBefore(place: number): string {
    return this.#entries[place - 1 - this.#first]?.position ?? this.#floor
  }

  #positionOf(cursor: string): string | undefined {
    const prefix = `${this.#epoch}.`
    const position = cursor.startsWith(prefix) ? cursor.slice(prefix.length) : ''
    return /^\d+(-\d+)?$/.test(position) ? position : undefined
  }
}

import type { Readable } from 'node:stream'
import { EventStream, EventStreams, formatEvent } from '../event-streams.ts'
import type { Clock } from '../time.ts'
import type { LoggedRevocation } from './revocation-log.ts'
import type { Revocations } from './revocations.ts'

/** Entries of one event, and of one page. */
const batchSize = 1000

/**
 * The minimum interval between heartbeats, in milliseconds. The feed in Redis is read about every second, so a heartbeat
 * follows every other read.
 */
const beatEvery = 1900

/** An entry as receivers get it. An entry of a version that did not distinguish sessions and tokens revokes both. */
type WireEntry = { readonly sid: string; readonly until: number } | { readonly jti: string; readonly until: number }

/** What a receiver has to know in addition to the entries, under wire names. */
export interface FeedStatus {
  readonly cursor: string
  /** Whole seconds: when the list began. */
  readonly epoch: number
  /** Keyturn's tokens with an earlier `iat` are refused, because revocations from before this second are lost. */
  readonly lost_before: number | null
  /** How long an entry matters, in whole seconds. */
  readonly window: number
  /** Milliseconds since this worker last heard from the store: every revocation acknowledged before that has been sent. */
  readonly age: number
  /** The time of this host, in whole seconds. */
  readonly now: number
}

export interface RevocationPage extends FeedStatus {
  /** Whether the cursor is not known, and this page is the first of a snapshot. */
  readonly reset: boolean
  readonly caught_up: boolean
  readonly revoked: readonly WireEntry[]
}

export interface RevocationStreamsOptions {
  /** How long an entry matters, in whole seconds. */
  readonly window: number
  readonly maxStreams: number
  readonly clock: Clock
}

/** One receiver's place in the log. */
class RevocationStream extends EventStream {
  /** The place in the log up to which it has been sent. */
  place = 0
  isCaughtUp = false
  /** A cursor that another worker may know and this one does not yet. */
  awaited: string | undefined
  readonly isAllowed: () => boolean

  constructor(isAllowed: () => boolean, pull: () => void) {
    super(pull)
    this.isAllowed = isAllowed
  }
}

/**
 * Sends the revocations that this worker knows to other services, over any number of streams, from its own replica: no stream
 * queries Redis, and each event is serialised once for all. The only state of a receiver is its place in the log.
 *
 * A stream consists of the log from its place on, then `caught-up`, then new entries. A heartbeat means that everything
 * acknowledged before it has been sent, so it is only written when the feed has just been read.
 */
export class RevocationStreams {
  readonly #streams: EventStreams<RevocationStream>
  readonly #replica: Revocations
  readonly #options: RevocationStreamsOptions
  /** Events by the place at which they begin, cached for a second, since many streams are sent the same ones. */
  readonly #events = new Map<number, { readonly to: number; readonly bytes: Buffer }>()
  #beatAt = Number.NEGATIVE_INFINITY

  constructor(replica: Revocations, options: RevocationStreamsOptions) {
    this.#replica = replica
    this.#options = options
    this.#streams = new EventStreams('revocation', options.maxStreams)
    replica.listen({
      added: () => this.#each((stream) => this.#advance(stream)),
      restarted: () => this.#each((stream) => this.#restart(stream)),
      heard: () => this.#heard()
    })
  }

  /** Streams that were cut because they were not read. */
  get cut(): number {
    return this.#streams.cut
  }

  get count(): number {
    return this.#streams.count
  }

  /** Entries that the slowest stream is behind. */
  get lag(): number {
    return [...this.#streams].reduce((most, { place }) => Math.max(most, this.#replica.log.end - place), 0)
  }

  /**
   * The body of a stream for a receiver that has everything up to `cursor`; it ends once `isAllowed` is false. Throws
   * KeyturnError BUSY when there are too many, STORE_DOWN when this worker's own feed has been silent for too long.
   */
  open(cursor: string | undefined, isAllowed: () => boolean): Readable {
    this.#replica.demandFresh()
    const stream: RevocationStream = new RevocationStream(isAllowed, () => this.#advance(stream))
    if (this.#streams.add(stream)) this.#place(stream, cursor, true)
    return stream
  }

  /** The entries after `cursor`, for receivers that poll. Throws KeyturnError STORE_DOWN as `open` does. */
  page(cursor: string | undefined): RevocationPage {
    const { log } = this.#replica
    this.#replica.demandFresh()
    const found = cursor === undefined ? log.first : log.find(cursor)
    const from = found ?? log.first
    const to = Math.min(log.end, from + batchSize)
    const { cursor: after, ...status } = this.#status(to)
    const revoked = log.slice(from, to).flatMap(toWire)
    return { cursor: after, reset: found === undefined, caught_up: to === log.end, revoked, ...status }
  }

  /** Looks after the streams; to be called every second. */
  tick(): void {
    this.#events.clear()
    const isStale = this.#replica.isStale()
    this.#streams.tick((stream) => !isStale && stream.isAllowed())
  }

  /** Ends all streams, and those opened from now on: their receivers reconnect to another worker. */
  end(): void {
    this.#streams.end()
  }

  #each(visit: (stream: RevocationStream) => void): void {
    for (const stream of this.#streams) visit(stream)
  }

  /** Begins after the cursor if it is known, otherwise with all known entries. */
  #place(stream: RevocationStream, cursor: string | undefined, mayWait: boolean): void {
    const { log } = this.#replica
    const found = cursor === undefined ? log.first : log.find(cursor)
    stream.awaited = found === undefined && mayWait && log.isAhead(cursor ?? '') ? cursor : undefined
    if (found !== undefined) stream.place = found
    else if (stream.awaited === undefined) this.#restart(stream)
  }

  /** The empty id makes an EventSource discard its cursor, in case the connection breaks before the first entry. */
  #restart(stream: RevocationStream): void {
    stream.awaited = undefined
    stream.isCaughtUp = false
    stream.place = this.#replica.log.first
    stream.send(formatEvent('reset', '', { epoch: this.#replica.log.epoch }))
    this.#advance(stream)
  }

  /** Sends what the stream has not been sent yet, as long as its receiver is ready for more. */
  #advance(stream: RevocationStream): void {
    const { log } = this.#replica
    if (stream.awaited !== undefined) this.#place(stream, stream.awaited, true)
    while (stream.isReady && stream.awaited === undefined && !stream.isOver) {
      if (stream.place < log.end) {
        const { to, bytes } = this.#eventFrom(Math.max(stream.place, log.first))
        stream.place = to
        stream.send(bytes)
      } else if (!stream.isCaughtUp) {
        stream.isCaughtUp = true
        stream.send(statusEvent('caught-up', this.#status(log.end)))
      } else return
    }
  }

  /** The event of the entries from `from` on. Events of a snapshot begin at the same places, so that streams can share them. */
  #eventFrom(from: number): { readonly to: number; readonly bytes: Buffer } {
    const { log } = this.#replica
    const to = Math.min(log.end, from - (from % batchSize) + batchSize)
    const made = this.#events.get(from)
    if (made?.to === to) return made
    const entries = log.slice(from, to).flatMap(toWire)
    const event = { to, bytes: Buffer.from(formatEvent('revoked', log.cursorAt(to), entries)) }
    this.#events.set(from, event)
    return event
  }

  #heard(): void {
    this.#each((stream) => {
      if (stream.awaited !== undefined) this.#place(stream, stream.awaited, false)
    })
    const now = performance.now()
    if (now - this.#beatAt < beatEvery) return
    this.#beatAt = now
    const { end } = this.#replica.log
    const event = statusEvent('heartbeat', this.#status(end))
    this.#each((stream) => {
      if (stream.isReady && stream.isCaughtUp && stream.place === end) stream.send(event)
    })
  }

  #status(place: number): FeedStatus {
    const { log } = this.#replica
    return {
      cursor: log.cursorAt(place),
      epoch: log.epoch,
      lost_before: this.#replica.lossBefore() ?? null,
      window: this.#options.window,
      age: this.#replica.ageMs(),
      now: this.#options.clock()
    }
  }
}

const statusEvent = (name: string, status: FeedStatus): string => formatEvent(name, status.cursor, status)

function toWire({ kind, id, term: { wall: until } }: LoggedRevocation): readonly WireEntry[] {
  if (kind === 'sid') return [{ sid: id, until }]
  return kind === 'jti'
    ? [{ jti: id, until }]
    : [
        { sid: id, until },
        { jti: id, until }
      ]
}

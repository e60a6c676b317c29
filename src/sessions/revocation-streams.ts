import { Readable } from 'node:stream'
import { KeyturnError } from '../errors.ts'
import type { Clock } from '../time.ts'
import type { LoggedRevocation } from './revocation-log.ts'
import type { Revocations } from './revocations.ts'

/** Entries of one event, and of one page. */
const batchSize = 1000

/** Heartbeats are at least this far apart, in milliseconds. The feed in Redis is heard every second or so: every other time. */
const beatEvery = 1900

/** After how long without a heartbeat streams are kept open by comments, in milliseconds: routers close what is silent. */
const commentAfter = 3000

/** How long a receiver may leave what is sent to it unread before it is cut, in milliseconds. */
const maxStallMs = 10_000

/** What the receiver is asked to wait before it connects again, in milliseconds. */
const [retryAtOnce, retryLater] = [100, 1000]

/** An entry as receivers get it; one of a version that did not tell the two apart revokes both. */
type WireEntry = { readonly sid: string; readonly until: number } | { readonly jti: string; readonly until: number }

/** What a receiver has to know beside the entries. Its names are those of the wire. */
export interface FeedStatus {
  readonly cursor: string
  /** Whole seconds: when the list began. */
  readonly epoch: number
  /** Tokens of ours with an earlier `iat` are refused: what was revoked then is lost. */
  readonly lost_before: number | null
  /** How long an entry matters, in whole seconds. */
  readonly window: number
  /** Milliseconds since this worker heard from the store: what was acknowledged before has been sent. */
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

/** The body of one response. It is pulled: what its receiver has not read yet stays in the log, not in memory of its own. */
class RevocationStream extends Readable {
  /** The place in the log up to which it has been sent. */
  place = 0
  isCaughtUp = false
  /** A cursor that another worker may know and this one does not yet. */
  awaited: string | undefined
  /** Whether the receiver takes more, and otherwise since when it does not. */
  isReady = false
  fullSince = 0
  readonly isAllowed: () => boolean
  #isFinished = false
  readonly #pull: (stream: RevocationStream) => void

  constructor(isAllowed: () => boolean, pull: (stream: RevocationStream) => void) {
    super()
    this.isAllowed = isAllowed
    this.#pull = pull
  }

  override _read(): void {
    this.isReady = true
    this.#pull(this)
  }

  send(bytes: string | Buffer): void {
    if (this.destroyed || this.#isFinished) return
    const wasReady = this.isReady
    this.isReady = this.push(bytes)
    if (wasReady && !this.isReady) this.fullSince = performance.now()
  }

  /** Ends after what has been sent; one whose receiver does not read is cut instead of waited for. */
  finish(retry: number): void {
    if (this.#isFinished) return
    if (!this.isReady) return void this.destroy()
    this.#isFinished = true
    this.push(`retry: ${retry}\n\n`)
    this.push(null)
  }
}

/**
 * Sends the revocations that this worker knows to other services, over any number of streams, from its own replica: no
 * stream asks Redis, and what many are sent is written once. Nothing is kept of a receiver but its place in the log.
 *
 * A stream is sent the log from its place on, then `caught-up`, then what comes. A heartbeat says that everything
 * acknowledged before it has been sent, so it is written when the feed has been heard, and never without.
 */
export class RevocationStreams {
  /** Streams that were cut because they were not read. */
  cut = 0
  readonly #streams = new Set<RevocationStream>()
  readonly #replica: Revocations
  readonly #options: RevocationStreamsOptions
  /** Events by the place they begin at, for a second: many streams are sent the same. */
  readonly #events = new Map<number, { readonly to: number; readonly bytes: Buffer }>()
  #beatAt = Number.NEGATIVE_INFINITY
  #hasEnded = false

  constructor(replica: Revocations, options: RevocationStreamsOptions) {
    this.#replica = replica
    this.#options = options
    replica.listen({
      added: () => this.#each((stream) => this.#advance(stream)),
      restarted: () => this.#each((stream) => this.#restart(stream)),
      heard: () => this.#heard()
    })
  }

  get count(): number {
    return this.#streams.size
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
    if (this.#streams.size >= this.#options.maxStreams)
      throw new KeyturnError('BUSY', { detail: `${this.#options.maxStreams} revocation streams are open` })
    this.#replica.demandFresh()
    const stream = new RevocationStream(isAllowed, (each) => this.#advance(each))
    if (this.#hasEnded) {
      stream.isReady = true
      stream.finish(retryAtOnce)
      return stream
    }
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    stream.send(`retry: ${retryLater}\n\n`)
    this.#place(stream, cursor, true)
    return stream
  }

  /** The entries after `cursor`, for receivers that ask now and then. Throws KeyturnError STORE_DOWN as `open` does. */
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
    const now = performance.now()
    const isStale = this.#replica.isStale()
    const isSilent = now - this.#beatAt > commentAfter
    this.#each((stream) => {
      if (!stream.isReady && now - stream.fullSince > maxStallMs) {
        this.cut += 1
        stream.destroy()
      } else if (isStale || !stream.isAllowed()) stream.finish(retryLater)
      else if (isSilent && stream.isReady) stream.send(':\n\n')
    })
  }

  /** Ends all streams, and each that is opened from now on: their receivers connect again, to another worker. */
  end(): void {
    this.#hasEnded = true
    this.#each((stream) => stream.finish(retryAtOnce))
  }

  #each(visit: (stream: RevocationStream) => void): void {
    for (const stream of this.#streams) visit(stream)
  }

  /** Begins after the cursor where that is known, and otherwise with all that is. */
  #place(stream: RevocationStream, cursor: string | undefined, mayWait: boolean): void {
    const { log } = this.#replica
    const found = cursor === undefined ? log.first : log.find(cursor)
    stream.awaited = found === undefined && mayWait && log.isAhead(cursor ?? '') ? cursor : undefined
    if (found !== undefined) stream.place = found
    else if (stream.awaited === undefined) this.#restart(stream)
  }

  /** The empty id is for an EventSource: it forgets its cursor, should it break off before the first entry. */
  #restart(stream: RevocationStream): void {
    stream.awaited = undefined
    stream.isCaughtUp = false
    stream.place = this.#replica.log.first
    stream.send(`event: reset\nid:\ndata: ${JSON.stringify({ epoch: this.#replica.log.epoch })}\n\n`)
    this.#advance(stream)
  }

  /** Sends what the stream has not been sent, for as long as its receiver takes it. */
  #advance(stream: RevocationStream): void {
    const { log } = this.#replica
    if (stream.awaited !== undefined) this.#place(stream, stream.awaited, true)
    while (stream.isReady && stream.awaited === undefined && !stream.destroyed) {
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
    const entries = JSON.stringify(log.slice(from, to).flatMap(toWire))
    const event = { to, bytes: Buffer.from(`event: revoked\nid: ${log.cursorAt(to)}\ndata: ${entries}\n\n`) }
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

const statusEvent = (name: string, status: FeedStatus): string =>
  `event: ${name}\nid: ${status.cursor}\ndata: ${JSON.stringify(status)}\n\n`

function toWire({ kind, id, term: { wall: until } }: LoggedRevocation): readonly WireEntry[] {
  if (kind === 'sid') return [{ sid: id, until }]
  return kind === 'jti'
    ? [{ jti: id, until }]
    : [
        { sid: id, until },
        { jti: id, until }
      ]
}

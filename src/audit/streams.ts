import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { KeyturnError } from '../errors.ts'
import { EventStream, EventStreams, formatEvent } from '../event-streams.ts'
import { showEntry } from './shipped.ts'
import type { AuditFilter, AuditStore } from './store.ts'

/** Entries that one read returns at most: about 100 KB. */
const batchSize = 200

/** Heartbeats are at least this far apart, in milliseconds. */
const beatEvery = 2000

/** Milliseconds from the end of one check of a receiver to the beginning of the next. */
const checkEvery = 1000

export interface AuditStreamOptions {
  /** The receiver has all entries up to this position. */
  readonly after: number
  readonly filter: AuditFilter
  /** Whether the receiver may still read the trail; never rejects. */
  readonly isAllowed: () => Promise<boolean>
}

/** One receiver's position in the trail. */
class AuditStream extends EventStream {
  /** Every entry up to here that matches has been sent. */
  place: number
  isCaughtUp = false
  isReading = false
  readonly options: AuditStreamOptions

  constructor(options: AuditStreamOptions, pull: () => void) {
    super(pull)
    this.place = options.after
    this.options = options
  }
}

/**
 * Sends the audit trail to any number of receivers, from a position on and then as it grows. The trail is read from the store,
 * so a receiver gets the entries of all workers and hosts, in order and without gaps, and one that does not read costs no
 * memory.
 *
 * A stream consists of each existing `entry`, then `caught-up`, then new entries. A `heartbeat` means that every entry that was
 * in the trail before it has been sent.
 */
export class AuditStreams {
  readonly #store: Pick<AuditStore, 'last' | 'list'>
  readonly #streams: EventStreams<AuditStream>
  /** The newest position that this worker knows. */
  #head = 0
  #beatAt = Number.NEGATIVE_INFINITY

  constructor(store: Pick<AuditStore, 'last' | 'list'>, maxStreams: number) {
    this.#store = store
    this.#streams = new EventStreams('audit', maxStreams)
  }

  get count(): number {
    return this.#streams.count
  }

  /** Streams that were cut because they were not read. */
  get cut(): number {
    return this.#streams.cut
  }

  /**
   * The body of a stream. Throws KeyturnError BUSY if there are too many streams, STORE_DOWN, and FIELDS_INVALID if the trail
   * ends before `after`: the receiver then has a cursor of another trail.
   */
  async open(options: AuditStreamOptions): Promise<Readable> {
    await this.#findHead()
    if (options.after > this.#head)
      throw new KeyturnError('FIELDS_INVALID', {
        fields: { after: [`Ensure this value is less than or equal to ${this.#head}.`] }
      })
    const stream: AuditStream = new AuditStream(options, () => void this.#advance(stream))
    if (this.#streams.add(stream)) void this.#watch(stream)
    return stream
  }

  /** Sends new entries. To be called often. Throws KeyturnError STORE_DOWN; the streams then wait. */
  async poll(): Promise<void> {
    if (this.count === 0) return
    await this.#findHead()
    const head = this.#head
    await Promise.all([...this.#streams].map((stream) => this.#advance(stream)))
    if (performance.now() - this.#beatAt < beatEvery) return
    this.#beatAt = performance.now()
    for (const stream of this.#streams)
      if (stream.isReady && stream.place >= head) stream.send(formatEvent('heartbeat', stream.place, {}))
  }

  /** Cuts streams that are not read, and keeps the others open; to be called every second. */
  tick(): void {
    this.#streams.tick(() => true)
  }

  /** Ends all streams, and each that is opened from now on. */
  end(): void {
    this.#streams.end()
  }

  /** Finishes the stream once its receiver may no longer read the trail: one check after the other, however long they take. */
  async #watch(stream: AuditStream): Promise<void> {
    for (;;) {
      await delay(checkEvery, undefined, { ref: false })
      if (stream.isOver) return
      if (!(await stream.options.isAllowed())) stream.finish()
    }
  }

  async #findHead(): Promise<void> {
    const last = await this.#store.last()
    this.#head = Math.max(this.#head, last?.seq ?? 0)
  }

  /**
   * Sends what the stream has not been sent yet, as long as its receiver is ready for more. If a read fails, the next poll
   * tries again.
   */
  async #advance(stream: AuditStream): Promise<void> {
    if (stream.isReading) return
    stream.isReading = true
    try {
      while (stream.isReady && !stream.isOver && !(stream.isCaughtUp && stream.place >= this.#head))
        await this.#sendSome(stream)
    } catch (error) {
      if (!(error instanceof KeyturnError)) stream.destroy(error as Error)
    } finally {
      stream.isReading = false
    }
  }

  async #sendSome(stream: AuditStream): Promise<void> {
    const head = this.#head
    const entries = await this.#store.list(stream.place, batchSize, stream.options.filter)
    for (const entry of entries) stream.send(formatEvent('entry', entry.seq, showEntry(entry)))
    stream.place = entries.at(-1)?.seq ?? stream.place
    if (entries.length === batchSize) return
    // Entries that the filter excludes need not be read again.
    stream.place = Math.max(stream.place, head)
    if (stream.isCaughtUp) return
    stream.isCaughtUp = true
    stream.send(formatEvent('caught-up', stream.place, {}))
  }
}

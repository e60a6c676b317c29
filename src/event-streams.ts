/*
 * Streams of server-sent events, as bodies of responses. A stream is pulled: events that its receiver has not read yet stay in
 * their source and take no memory. A receiver reconnects to any worker, with the id of its last event.
 *
 *   open ── its place is no longer allowed ──> finished (retry: 1000)
 *     │ ─── a drain ─────────────────────────> finished (retry: 100)
 *     └──── its receiver does not read ──────> cut
 */
import { Readable } from 'node:stream'
import { KeyturnError } from './errors.ts'

/** Milliseconds without reading after which a receiver is disconnected. */
const maxStallMs = 10_000

/** Milliseconds without an event after which a comment is sent, since routers close idle connections. */
const commentAfter = 3000

/** Bytes that may wait in a stream before sending pauses: the default of Node 20, a quarter of that of Node 22. */
const highWaterMark = 16_384

/** The time that the receiver is requested to wait before it reconnects, in milliseconds. */
const [retryAtOnce, retryLater] = [100, 1000]

/** An event. Its `id` is a cursor, which the receiver sends when it reconnects; an empty one makes it discard its cursor. */
export const formatEvent = (event: string, id: string | number, data: unknown): string =>
  `event: ${event}\nid:${id === '' ? '' : ` ${id}`}\ndata: ${JSON.stringify(data)}\n\n`

/** The body of one response. `pull` is called when the receiver is ready for more. */
export class EventStream extends Readable {
  /** Whether the receiver is ready for more; if not, since when. */
  isReady = false
  #fullSince = 0
  #sentAt = 0
  #isFinished = false
  readonly #pull: () => void

  constructor(pull: () => void) {
    super({ highWaterMark })
    this.#pull = pull
  }

  /** Whether nothing can be sent any more. */
  get isOver(): boolean {
    return this.destroyed || this.#isFinished
  }

  /** Whether its receiver has read nothing for too long. */
  get isStalled(): boolean {
    return !this.isReady && performance.now() - this.#fullSince > maxStallMs
  }

  override _read(): void {
    this.isReady = true
    this.#pull()
  }

  send(bytes: string | Buffer): void {
    if (this.isOver) return
    const wasReady = this.isReady
    this.isReady = this.push(bytes)
    this.#sentAt = performance.now()
    if (wasReady && !this.isReady) this.#fullSince = this.#sentAt
  }

  /** Sends a comment if nothing was sent for some seconds. */
  keepOpen(): void {
    if (this.isReady && performance.now() - this.#sentAt > commentAfter) this.send(':\n\n')
  }

  /** Ends after everything that has been sent. If the receiver does not read, the stream is cut at once. */
  finish(retry = retryLater): void {
    if (this.#isFinished) return
    if (!this.isReady) return void this.destroy()
    this.#isFinished = true
    this.push(`retry: ${retry}\n\n`)
    this.push(null)
  }
}

/** The open streams of one kind in this worker. */
export class EventStreams<Stream extends EventStream> implements Iterable<Stream> {
  /** Streams that were cut because they were not read. */
  cut = 0
  readonly #streams = new Set<Stream>()
  readonly #name: string
  readonly #maxStreams: number
  #hasEnded = false

  /** `name` is for errors. */
  constructor(name: string, maxStreams: number) {
    this.#name = name
    this.#maxStreams = maxStreams
  }

  get count(): number {
    return this.#streams.size
  }

  [Symbol.iterator](): Iterator<Stream> {
    return this.#streams.values()
  }

  /**
   * Adds a new stream. Returns false if it was finished at once, because this worker drains. Throws KeyturnError BUSY if there
   * are too many.
   */
  add(stream: Stream): boolean {
    if (this.#streams.size >= this.#maxStreams)
      throw new KeyturnError('BUSY', { detail: `${this.#maxStreams} ${this.#name} streams are open` })
    if (this.#hasEnded) {
      stream.isReady = true
      stream.finish(retryAtOnce)
      return false
    }
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    stream.send(`retry: ${retryLater}\n\n`)
    return true
  }

  /**
   * Cuts streams that are not read, finishes those that are no longer allowed, and keeps the others open. To be called every
   * second.
   */
  tick(mayGoOn: (stream: Stream) => boolean): void {
    for (const stream of this.#streams) {
      if (stream.isStalled) {
        this.cut += 1
        stream.destroy()
      } else if (mayGoOn(stream)) stream.keepOpen()
      else stream.finish()
    }
  }

  /** Ends all streams, and those added from now on: their receivers reconnect to another worker. */
  end(): void {
    this.#hasEnded = true
    for (const stream of this.#streams) stream.finish(retryAtOnce)
  }
}

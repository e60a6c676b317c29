import { setTimeout as delay } from 'node:timers/promises'
import { EventParser, type ServerEvent } from './events.ts'
import { type Fetch, ResponseError } from './http.ts'
import type { ListStatus, Revocation, Revocations } from './revocations.ts'
import type { Time } from './time.ts'

/*
 * Follows GET /api/revocations/. Each connection is in one of three states:
 *
 *   connecting --200--> loading --`caught-up`--> following
 *
 * `revoked` adds to the list in both of the latter; `caught-up` and, while following, `heartbeat` confirm that the list is
 * complete; `reset` goes back to loading. Whatever goes wrong ends the connection, and the next one continues from the
 * cursor of the last event that was taken.
 */

/** Seconds without a byte after which a connection is dead: the service sends something every 2 to 3 s. */
const maxSilence = 10
/**
 * Milliseconds to wait after a failure, doubled with each one. A stream that ends too early counts as a failure, even if it
 * ends cleanly.
 */
const backoff = { first: 100, max: 2000 }
/** The wait after a refusal of the credentials, which only the operator can fix; the service counts failures per minute. */
const slowBackoff = { first: 2000, max: 30_000 }
/**
 * Seconds for which a stream must have been complete for its end not to count as another failure: a faulty server may end each
 * one after its snapshot.
 */
const steadyAfter = 5

export interface StreamOptions {
  readonly url: string
  readonly client: { readonly id: string; readonly secret: string }
  readonly revocations: Revocations
  readonly fetch: Fetch
  readonly time: Time
  readonly onRevoked: (revocations: readonly Revocation[]) => void
  /** `caught-up`: everything revoked until now is known. */
  readonly onConnected: () => void
  /** `error` is undefined where the service ended the stream, as it does at a reload. */
  readonly onDisconnected: (error: unknown, waitMs: number) => void
}

export class RevocationStream {
  readonly #options: StreamOptions
  readonly #closing = new AbortController()
  #cursor: string | undefined
  #isFollowing = false
  /** By the monotonic clock: when the last `caught-up` came. */
  #followedSince = Number.POSITIVE_INFINITY
  /** The number of consecutive connections that did not last. */
  #failures = 0
  #retryMs = 1000
  #failure: unknown
  readonly #ended: Promise<void>

  constructor(options: StreamOptions) {
    this.#options = options
    this.#ended = this.#run()
  }

  /** Why there is no connection, where there is none. */
  get failure(): unknown {
    return this.#failure
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the verifier is closed'))
    await this.#ended
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      this.#isFollowing = false
      this.#followedSince = Number.POSITIVE_INFINITY
      this.#failure = undefined
      try {
        await this.#connect()
      } catch (error) {
        this.#failure = error
      }
      if (signal.aborted) return
      if (this.#options.time.monotonic() - this.#followedSince >= steadyAfter) this.#failures = 0
      const waitMs = this.#nextWait()
      this.#options.onDisconnected(this.#failure, waitMs)
      await delay(waitMs, undefined, { signal }).catch(() => {})
    }
  }

  /**
   * Milliseconds until the next connection, with jitter so that the verifiers of a worker that drains do not reconnect at the
   * same moment. If the service ended a stream that had lasted, the time that the service specified.
   */
  #nextWait(): number {
    const jitter = 1 + Math.random() / 2
    const { status, retryAfter } = this.#failure instanceof ResponseError ? this.#failure : {}
    if (retryAfter !== undefined) return Math.min(Math.max(retryAfter, 1), 30) * 1000 * jitter
    const { first, max } = status === 401 || status === 403 ? slowBackoff : backoff
    const failures = this.#failures++
    const growing = Math.min(first * 2 ** Math.min(failures, 10), max)
    if (this.#failure !== undefined) return growing * jitter
    return (failures === 0 ? this.#retryMs : Math.max(growing, this.#retryMs)) * jitter
  }

  /** One connection, until it ends. Rejects with what ended it, unless the service did. */
  async #connect(): Promise<void> {
    const connection = new AbortController()
    const signal = AbortSignal.any([this.#closing.signal, connection.signal])
    const silent = () => connection.abort(new Error(`no data for ${maxSilence} s`))
    const watchdog = setTimeout(silent, maxSilence * 1000)
    try {
      const body = await this.#open(signal)
      await this.#read(body, signal, watchdog)
    } finally {
      clearTimeout(watchdog)
      connection.abort()
    }
  }

  async #open(signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const { url, client, fetch } = this.#options
    const response = await fetch(url, {
      headers: {
        accept: 'text/event-stream',
        // A proxy that compresses would hold events back.
        'accept-encoding': 'identity',
        authorization: basic(client),
        ...(this.#cursor === undefined ? {} : { 'last-event-id': this.#cursor })
      },
      redirect: 'manual',
      signal
    })
    const type = response.headers.get('content-type') ?? ''
    if (response.status === 200 && /^text\/event-stream\b/i.test(type) && response.body !== null) return response.body
    await response.body?.cancel()
    throw new ResponseError(url, response, '200 (text/event-stream)')
  }

  async #read(body: ReadableStream<Uint8Array>, signal: AbortSignal, watchdog: NodeJS.Timeout): Promise<void> {
    const { monotonic } = this.#options.time
    const parser = new EventParser()
    const decoder = new TextDecoder('utf-8', { fatal: true })
    const reader = body.getReader()
    try {
      for (;;) {
        const began = monotonic()
        const { done, value } = await reader.read()
        signal.throwIfAborted()
        if (done) return
        // Data that waited in a buffer while this process was suspended does not show the current state.
        if (monotonic() - began > maxSilence) throw new Error(`no data for ${maxSilence} s`)
        watchdog.refresh()
        for (const event of parser.push(decoder.decode(value, { stream: true }))) this.#take(event)
      }
    } finally {
      reader.cancel().catch(() => {})
    }
  }

  #take({ type, data, id, retry }: ServerEvent): void {
    const { revocations, onRevoked, onConnected } = this.#options
    if (retry !== undefined) this.#retryMs = Math.min(retry, 30_000)
    if (type === 'reset') {
      this.#isFollowing = false
      this.#cursor = undefined
      revocations.restart()
    } else if (type === 'revoked') {
      const added = readRevocations(data)
      revocations.add(added)
      onRevoked(added)
    } else if (type === 'caught-up' || (type === 'heartbeat' && this.#isFollowing)) {
      revocations.confirm(readStatus(data))
      const wasFollowing = this.#isFollowing
      this.#isFollowing = true
      if (!wasFollowing) {
        this.#followedSince = this.#options.time.monotonic()
        onConnected()
      }
    } else return
    if (id !== undefined) this.#cursor = readCursor(id)
  }
}

/** RFC 6749 §2.3.1: both parts are form-encoded before they are joined. */
function basic({ id, secret }: StreamOptions['client']): string {
  const [name, password] = [id, secret].map((part) => new URLSearchParams([['', part]]).toString().slice(1))
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}

const readCursor = (id: string): string | undefined => {
  if (id === '') return undefined
  if (!/^[\x21-\x7e]{1,128}$/.test(id)) throw new Error('the stream has an id that is not a cursor')
  return id
}

/** An entry of an unknown kind would be a revocation that is missed, so that it is an error. */
function readRevocations(data: string): Revocation[] {
  const list: unknown = parse(data)
  const isList = Array.isArray(list) && list.every(isRevocation)
  if (!isList) throw new Error('the stream has a list that is not of revocations')
  return list
}

const isRevocation = (value: unknown): value is Revocation => {
  const { sid, jti, until } = Object(value) as Record<string, unknown>
  return isSeconds(until) && (jti === undefined ? isId(sid) : sid === undefined && isId(jti))
}

function readStatus(data: string): ListStatus {
  const { lost_before: lostBefore = null, window, age } = Object(parse(data)) as Record<string, unknown>
  if ((lostBefore !== null && !isSeconds(lostBefore)) || !isSeconds(window) || !isSeconds(age))
    throw new Error('the stream has a status without lost_before, window or age')
  return { lostBefore, window, age: age / 1000 }
}

const isId = (value: unknown): value is string => typeof value === 'string' && value !== '' && value.length <= 256
const isSeconds = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < 2 ** 53

function parse(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    throw new Error('the stream has data that is not JSON')
  }
}

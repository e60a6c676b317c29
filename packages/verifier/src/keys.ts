import type { JWK } from 'jose'
import { type Algorithm, importKey, type VerifyingKey } from './algorithms.ts'
import { unavailable, type VerifierError } from './errors.ts'
import { type Fetch, fetchJson } from './http.ts'
import type { Time } from './time.ts'

/** Seconds before the keys are fetched again because of an unknown kid: after a success, and after a failure. */
const cooldown = { success: 10, failure: 1 }
/** Seconds between two fetches in the background. */
const interval = { min: 10, max: 3600, default: 300 }
/** Seconds by which the clocks of two hosts may differ. */
const clockSkew = 5

export interface KeySetOptions {
  readonly issuer: string
  readonly algorithms: readonly Algorithm[]
  readonly fetch: Fetch
  readonly time: Time
  /** After a fetch that added, removed or changed a key. */
  readonly onChange: () => void
  readonly onFailure: (error: unknown) => void
}

/**
 * The issuer's keys. They are fetched by discovery, as often as the max-age of the JWKS requires and for an unknown kid, and
 * kept during an outage of any length.
 */
export class KeySet {
  readonly #options: KeySetOptions
  readonly #closing = new AbortController()
  #byKid: ReadonlyMap<string, VerifyingKey> = new Map()
  #fetching: Promise<void> | undefined
  #failure: VerifierError | undefined = unavailable('the keys have not been fetched yet')
  /** By the monotonic clock: when an unknown kid may cause a fetch. */
  #nextFetchAt = Number.NEGATIVE_INFINITY
  /** By the wall clock. */
  #fetchedAt = Number.NEGATIVE_INFINITY
  #failures = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: KeySetOptions) {
    this.#options = options
    this.#refetch()
  }

  /** Why nothing can be verified; undefined while there is a key. */
  get failure(): VerifierError | undefined {
    return this.#byKid.size === 0 ? this.#failure : undefined
  }

  /**
   * The key of a token; undefined where the issuer has no such key. Throws VerifierError `unavailable` where that cannot be
   * known: the keys cannot be fetched, or the token was issued after they were.
   */
  async find(kid: string, issuedAt: unknown): Promise<VerifyingKey | undefined> {
    const known = this.#byKid.get(kid)
    if (known !== undefined) return known
    if (this.#fetching !== undefined || this.#options.time.monotonic() >= this.#nextFetchAt) await this.#fetch()
    const found = this.#byKid.get(kid)
    if (found !== undefined) return found
    if (this.#failure !== undefined) throw this.#failure
    const isLater = typeof issuedAt === 'number' && issuedAt > this.#fetchedAt + clockSkew
    if (isLater && issuedAt <= this.#options.time.now() + clockSkew)
      throw unavailable('the token is newer than the keys, which are fetched again in a few seconds')
    return undefined
  }

  close(): void {
    this.#closing.abort(new Error('the verifier is closed'))
    clearTimeout(this.#timer)
  }

  /** One fetch at a time, however many tokens wait for it. Never rejects: `#failure` has the reason. */
  #fetch(): Promise<void> {
    this.#fetching ??= this.#load().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #load(): Promise<void> {
    const { time, onChange, onFailure } = this.#options
    let next: number
    try {
      const began = time.now()
      const { keys, maxAge = interval.default } = await this.#download()
      const isSame = describe(keys) === describe(this.#byKid)
      this.#byKid = keys
      this.#fetchedAt = began
      this.#failure = undefined
      this.#failures = 0
      next = Math.min(Math.max(maxAge, interval.min), interval.max)
      if (!isSame) onChange()
    } catch (error) {
      this.#failure = unavailable(`the keys cannot be fetched: ${messageOf(error)}`, error)
      if (this.#closing.signal.aborted) return
      next = Math.min(2 ** this.#failures++, 30) * (0.5 + Math.random() / 2)
      onFailure(error)
    }
    this.#nextFetchAt = time.monotonic() + (this.#failure === undefined ? cooldown.success : cooldown.failure)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#refetch(), next * 1000)
    this.#timer.unref()
  }

  #refetch(): void {
    this.#fetch()
  }

  async #download() {
    const { issuer, algorithms, fetch } = this.#options
    const { body: metadata } = await fetchJson(fetch, metadataUrl(issuer), this.#closing.signal)
    // RFC 8414 §3.3: otherwise the metadata must not be used.
    if (metadata.issuer !== issuer) throw new Error(`expected the issuer ${issuer}, got ${String(metadata.issuer)}`)
    const { body, maxAge } = await fetchJson(fetch, jwksUrl(metadata.jwks_uri, issuer), this.#closing.signal)
    if (!Array.isArray(body.keys)) throw new Error('the JWKS has no list of keys')
    const imported = await Promise.all((body.keys as JWK[]).map((jwk) => importKey(Object(jwk))))
    const keys = imported.filter((key) => key !== undefined && algorithms.includes(key.algorithm)) as VerifyingKey[]
    if (keys.length === 0) throw new Error(`the JWKS has no public key for ${algorithms.join(', ')}`)
    return { keys: new Map(keys.map((key) => [key.kid, key])), maxAge }
  }
}

/** RFC 8414 §3.1: in front of the issuer's path, without a slash at its end. */
export function metadataUrl(issuer: string): string {
  const { origin, pathname } = new URL(issuer)
  return `${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, '')}`
}

/** Keys that arrive without TLS could come from anyone, so `https` must not lead to `http`. */
function jwksUrl(uri: unknown, issuer: string): string {
  const url = typeof uri === 'string' && URL.canParse(uri) ? new URL(uri) : undefined
  const isAllowed = url?.protocol === 'https:' || (url?.protocol === 'http:' && issuer.startsWith('http:'))
  if (url === undefined || !isAllowed) throw new Error(`jwks_uri: expected a URL like that of the issuer, got ${uri}`)
  return url.href
}

const describe = (keys: ReadonlyMap<string, VerifyingKey>): string =>
  [...keys.values()]
    .map(({ text }) => text)
    .toSorted()
    .join()

/** The message of a failed fetch: undici has the reason in `cause`. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : `${error.message}: ${messageOf(error.cause)}`
}

import { EventEmitter, once } from 'node:events'
import { isSignedBy } from './algorithms.ts'
import { type ClaimRules, checkClaims, type Verified } from './claims.ts'
import {
  expired,
  insufficientScope,
  invalid,
  notAuthenticated,
  revoked,
  unavailable,
  type VerifierError
} from './errors.ts'
import { KeySet, messageOf } from './keys.ts'
import { readOptions, readScopes, type VerifierOptions, type VerifyOptions } from './options.ts'
import { Recent } from './recent.ts'
import { type Revocation, Revocations } from './revocations.ts'
import { RevocationStream } from './stream.ts'
import { systemTime, type Time } from './time.ts'
import { parseToken } from './token.ts'

/** The number of accepted tokens that are cached. */
const maxAccepted = 10_000
/** Milliseconds: a longer timer would fire at once. */
const longestTimer = 2 ** 31 - 1

/** A Fetch `Request`, an `IncomingMessage`, a request of Fastify, or another object with their headers. */
export interface RequestLike extends RawHeaders {
  readonly headers: FetchHeaders | { readonly authorization?: string | undefined }
  /** The `IncomingMessage` under the request of Fastify. */
  readonly raw?: RawHeaders
}

interface RawHeaders {
  /** Names and values by turns. Of two `Authorization` fields, the `headers` of an `IncomingMessage` have only the first. */
  readonly rawHeaders?: readonly string[]
}

interface FetchHeaders {
  get(name: string): string | null
}

export interface VerifierEvents {
  /** Sessions and tokens that were just revoked; at the start, all that still matter. */
  revoked: [revocations: readonly Revocation[]]
  /** The revocation stream is complete: everything revoked until now is known. */
  connected: []
  /** The stream ended, with an error unless the service ended it on purpose; it reconnects after `waitMs`. */
  disconnected: [error: unknown, waitMs: number]
  /** The keys of the issuer have changed. */
  keys: []
  /** The keys could not be fetched; those that are known stay in use. */
  keysFailed: [error: unknown]
}

/** Verifies access tokens. It works in the background from the start until `close()`. */
export class Verifier extends EventEmitter<VerifierEvents> {
  readonly #rules: ClaimRules
  readonly #time: Time
  readonly #accepted = new Recent<Verified>(maxAccepted)
  readonly #keys: KeySet
  readonly #revocations: Revocations | undefined
  readonly #stream: RevocationStream | undefined
  readonly #progress = new EventEmitter()
  #isClosed = false

  constructor(options: VerifierOptions, time: Time = systemTime) {
    super()
    const { issuer, audience, algorithms, client, staleness, fetch } = readOptions(options)
    this.#rules = { issuer, audience }
    this.#time = time
    this.#keys = new KeySet({
      issuer,
      algorithms,
      fetch,
      time,
      onChange: () => {
        // A token whose key was withdrawn must not be cached.
        this.#accepted.clear()
        this.#report('keys')
        this.#progress.emit('change')
      },
      onFailure: (error) => this.#report('keysFailed', error)
    })
    if (client === undefined) return
    this.#revocations = new Revocations({ staleness }, time)
    this.#stream = new RevocationStream({
      url: `${issuer.replace(/\/$/, '')}/api/revocations/`,
      client,
      revocations: this.#revocations,
      fetch,
      time,
      onRevoked: (revocations) => this.#report('revoked', revocations),
      onConnected: () => {
        this.#report('connected')
        this.#progress.emit('change')
      },
      onDisconnected: (error, waitMs) => this.#report('disconnected', error, waitMs)
    })
  }

  /**
   * Verifies the signature, the claims and the revocation of an access token, and returns its contents. Rejects with
   * VerifierError, and with TypeError for invalid options.
   *
   * A token that was accepted before is looked up, not verified again; its expiry and its revocation are checked each time.
   */
  async verify(token: string, options?: VerifyOptions): Promise<Verified> {
    const wanted = readScopes(options)
    const verified = this.#accepted.get(token) ?? (await this.#check(token))
    if (verified.expiresAt <= this.#time.now()) throw expired()
    if (this.#revocations?.has(verified.claims)) throw revoked()
    const doubt = this.#streamFailure()
    if (doubt !== undefined) throw doubt
    if (!wanted.every((each) => verified.scopes.includes(each))) throw insufficientScope(wanted.join(' '))
    return verified
  }

  /**
   * The same for the token in a request's `Authorization: Bearer`. Two such fields are refused: a proxy may have checked the other
   * one.
   */
  async verifyRequest(request: RequestLike, options?: VerifyOptions): Promise<Verified> {
    const { headers, raw = request } = request
    if (hasSeveralAuthorizations(raw)) throw invalid('the request has more than one Authorization field')
    const authorization = (isFetchHeaders(headers) ? headers.get('authorization') : headers.authorization) ?? ''
    const found = /^bearer(?:$| +)(.*)$/i.exec(authorization)
    if (found === null) throw notAuthenticated()
    return this.verify(found[1] ?? '', options)
  }

  /** Whether it can decide on a token at this moment: for a readiness probe. */
  get isReady(): boolean {
    return this.#failure() === undefined
  }

  /** Resolves once it can decide on tokens. Rejects with VerifierError `unavailable`, which names the reason, after `timeoutMs`. */
  async ready(timeoutMs = 10_000): Promise<void> {
    const signal = AbortSignal.timeout(Math.min(timeoutMs, longestTimer))
    for (let failure = this.#failure(); failure !== undefined; failure = this.#failure()) {
      if (signal.aborted || this.#isClosed) throw failure
      await once(this.#progress, 'change', { signal }).catch(() => {})
    }
  }

  /** Ends what runs in the background. From then on every token is refused with `unavailable`. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#accepted.clear()
    this.#keys.close()
    this.#progress.emit('change')
    await this.#stream?.close()
  }

  async #check(token: string): Promise<Verified> {
    if (this.#isClosed) throw unavailable('the verifier is closed')
    const { algorithm, kid, signed, signature, payload } = parseToken(token)
    const key = await this.#keys.find(kid, payload.iat)
    if (key === undefined) throw invalid('the issuer has no key of this kid')
    // The algorithm is the key's own; the token may only agree.
    if (algorithm !== key.algorithm) throw invalid("alg is not the key's")
    if (!isSignedBy(key, signed, signature)) throw invalid('the signature does not match')
    const verified = checkClaims(payload, this.#time.now(), this.#rules)
    this.#accepted.set(token, verified)
    return verified
  }

  /** Later, so that a listener that throws does not end the stream. */
  #report<Name extends keyof VerifierEvents>(name: Name, ...values: VerifierEvents[Name]): void {
    process.nextTick(() => (this as EventEmitter).emit(name, ...values))
  }

  #failure(): VerifierError | undefined {
    return this.#isClosed ? unavailable('the verifier is closed') : (this.#keys.failure ?? this.#streamFailure())
  }

  /** Why it cannot know whether a token is revoked; undefined while it can. */
  #streamFailure(): VerifierError | undefined {
    if (this.#revocations === undefined || this.#revocations.isFresh()) return undefined
    const { failure } = this.#stream ?? {}
    const reason = failure === undefined ? 'it is loading, or silent' : messageOf(failure)
    return unavailable(`the revocation stream is not up to date: ${reason}`, failure)
  }
}

/** Every other element is a name. */
const hasSeveralAuthorizations = ({ rawHeaders = [] }: RawHeaders): boolean =>
  rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'authorization').length > 1

/** A request may have a header field of the name `get`, which is then a text. */
const isFetchHeaders = (headers: RequestLike['headers']): headers is FetchHeaders =>
  'get' in headers && typeof headers.get === 'function'

/** Starts fetching keys and revocations; `ready()` resolves once it has them. Throws TypeError for invalid options. */
export const createVerifier = (options: VerifierOptions): Verifier => new Verifier(options)

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
import { readOptions, type VerifierOptions } from './options.ts'
import { Recent } from './recent.ts'
import { type Revocation, Revocations } from './revocations.ts'
import { RevocationStream } from './stream.ts'
import { systemTime, type Time } from './time.ts'
import { parseToken } from './token.ts'

/** Accepted tokens that are remembered. */
const maxAccepted = 10_000

export interface VerifyOptions {
  /** Scopes that the token must have, all of them; a text may have several, separated by spaces. */
  readonly scope?: string | readonly string[]
}

/** A Fetch `Request`, an `IncomingMessage`, or what else has their headers. */
export interface RequestLike {
  readonly headers: FetchHeaders | { readonly authorization?: string | undefined }
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
        // A token of a key that was withdrawn must not be remembered.
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
   * What an access token says, once its signature, claims and revocation have been checked. Rejects with VerifierError.
   *
   * A token that was accepted before is looked up, not verified again; its expiry and its revocation are checked each time.
   */
  async verify(token: string, { scope }: VerifyOptions = {}): Promise<Verified> {
    const verified = this.#accepted.get(token) ?? (await this.#check(token))
    if (verified.expiresAt <= this.#time.now()) throw expired()
    if (this.#revocations?.has(verified.claims)) throw revoked()
    const doubt = this.#streamFailure()
    if (doubt !== undefined) throw doubt
    if (scope !== undefined) demandScope(verified, scope)
    return verified
  }

  /** The same for the token in a request's `Authorization: Bearer`. */
  async verifyRequest({ headers }: RequestLike, options?: VerifyOptions): Promise<Verified> {
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
    const signal = AbortSignal.timeout(timeoutMs)
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

/** A request may have a header field of the name `get`, which is then a text. */
const isFetchHeaders = (headers: RequestLike['headers']): headers is FetchHeaders =>
  'get' in headers && typeof headers.get === 'function'

function demandScope({ scopes }: Verified, scope: string | readonly string[]): void {
  const wanted = (typeof scope === 'string' ? scope.split(' ') : scope).filter((each) => each !== '')
  if (!wanted.every((each) => scopes.includes(each))) throw insufficientScope(wanted.join(' '))
}

/** Starts to fetch keys and revocations; `ready()` says when it has them. Throws TypeError for options that are not valid. */
export const createVerifier = (options: VerifierOptions): Verifier => new Verifier(options)

import { KeyturnError } from '../errors.ts'
import type { Key } from '../keys/key.ts'
import type { Keys } from '../keys/keyring.ts'
import { namesTwice, readHeader, splitToken } from './jws.ts'

/**
 * The two kinds of key: signatures of `access` keys can be verified by any service, those of `refresh` keys by Keyturn alone
 * (unless SIGNING_KEY is shared).
 */
export type KeyUse = 'access' | 'refresh'

/** The payload of a token of which only the signature has been verified. */
export type Payload = Readonly<Record<string, unknown>>

/** Turns claims into signed tokens and back. */
export interface TokenCodec {
  /** Signs a JWS in compact form (RFC 7515 §7.1) with the current key for `use`. With HMAC, equal claims result in equal tokens. */
  sign(use: KeyUse, claims: object): string
  /**
   * Returns the payload of a token that was signed with one of our keys. Claims are not checked. Throws KeyturnError
   * TOKEN_INVALID.
   */
  read(token: string): Payload
}

/** Signs and verifies JWS with one key and its algorithm. */
export interface TokenKey {
  sign(claims: object): string
  /** Throws if the signature was not made with this key. Times are not checked here; claims.ts checks all claims. */
  verify(token: string): Payload
}

export interface CodecOptions {
  /** Prepares a key, once for as long as the keyring holds it; `typ` is the header of the tokens it signs. */
  openKey(key: Key, typ: string): Promise<TokenKey>
  /** The `typ` of access tokens. */
  readonly accessTokenType: 'JWT' | 'at+jwt'
}

/** Access tokens whose signature has been verified. A token and its claims take about a kilobyte. */
const maxVerified = 4096

/** Headers that need not be parsed again. */
const maxHeads = 64

/**
 * A codec, which has no keys until `use` has resolved. It caches access tokens whose signature it has verified: the same token
 * is sent with every request of its user, and verifying a signature costs more than all other checks together.
 */
export class Codec implements TokenCodec {
  readonly #options: CodecOptions
  #byKid = new Map<string, TokenKey>()
  #signing!: TokenKey
  /** Verify tokens that name none of our keys: Simple JWT's tokens have no kid, and Simple JWT accepts any kid. */
  #unnamed: readonly TokenKey[] = []
  /** The key for refresh tokens. Never changes, since it is derived from the internal key, or configured. */
  #refresh!: TokenKey
  /** Keys by the header of a verified token: a key writes the same header each time. */
  #byHead = new Map<string, readonly TokenKey[]>()
  /** Only verified tokens, so that forged ones evict none. A change of keys empties this map and the one above. */
  #verified = new Map<string, Payload>()

  constructor(options: CodecOptions) {
    this.#options = options
  }

  /** Replaces the keys. Keys that were in use before are not prepared again. */
  async use(keys: Keys): Promise<void> {
    const { openKey, accessTokenType } = this.#options
    const byKid = new Map<string, TokenKey>()
    for (const key of keys.verifying)
      byKid.set(key.kid, this.#byKid.get(key.kid) ?? (await openKey(key, accessTokenType)))
    this.#refresh ??= await openKey(keys.refresh, 'JWT')
    this.#signing = byKid.get(keys.signing.kid) as TokenKey
    this.#unnamed = keys.unnamed.map(({ kid }) => byKid.get(kid) as TokenKey)
    // With a shared secret one key signs both kinds, and either object verifies them.
    this.#byKid = byKid.set(keys.refresh.kid, byKid.get(keys.refresh.kid) ?? this.#refresh)
    this.#byHead = new Map()
    this.#verified = new Map()
  }

  sign(use: KeyUse, claims: object): string {
    return (use === 'access' ? this.#signing : this.#refresh).sign(claims)
  }

  read(token: string): Payload {
    return this.#verified.get(token) ?? this.#verify(token)
  }

  #verify(token: string): Payload {
    const jws = splitToken(token)
    if (typeof jws === 'string') throw invalid(jws)
    const keys = this.#byHead.get(jws.head) ?? this.#findKeys(jws.head)
    const payload = checkSignature(keys, token)
    if (this.#byHead.size < maxHeads) this.#byHead.set(jws.head, keys)
    // Only Keyturn has this key, and it never writes duplicate names. A refresh token is presented once: thousands of them
    // would evict the access tokens, which are presented repeatedly.
    if (keys[0] === this.#refresh) return payload
    if (namesTwice(jws.payload, payload)) throw invalid('the payload names a member twice')
    this.#remember(token, Object.freeze(payload))
    return payload
  }

  #findKeys(head: string): readonly TokenKey[] {
    const header = readHeader(head)
    if (typeof header === 'string') throw invalid(header)
    const key = this.#byKid.get(header.kid ?? '')
    const keys = key === undefined ? this.#unnamed : [key]
    if (keys.length === 0) throw invalid('kid is not known')
    return keys
  }

  #remember(token: string, payload: Payload): void {
    if (this.#verified.size >= maxVerified) this.#verified.delete(this.#verified.keys().next().value ?? '')
    this.#verified.set(token, payload)
  }
}

function checkSignature(keys: readonly TokenKey[], token: string): Payload {
  let cause: unknown
  for (const key of keys) {
    try {
      return key.verify(token)
    } catch (error) {
      cause = error
    }
  }
  throw invalid((cause as { code?: string }).code ?? 'unreadable', cause)
}

const invalid = (detail: string, cause?: unknown): KeyturnError => new KeyturnError('TOKEN_INVALID', { detail, cause })

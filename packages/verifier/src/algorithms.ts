import { constants, KeyObject, type VerifyKeyObjectInput, verify } from 'node:crypto'
import { importJWK, type JWK } from 'jose'

const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
/** RFC 7518 §3.4: the two numbers of a signature one after the other, not as ASN.1. */
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const

/** One row per JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1). A shared secret is not among them: a service that verifies with it could sign. */
const rows = {
  ES256: { hash: 'sha256', options: ecdsa },
  ES384: { hash: 'sha384', options: ecdsa },
  ES512: { hash: 'sha512', options: ecdsa },
  RS256: { hash: 'sha256', options: {} },
  RS384: { hash: 'sha384', options: {} },
  RS512: { hash: 'sha512', options: {} },
  PS256: { hash: 'sha256', options: pss },
  PS384: { hash: 'sha384', options: pss },
  PS512: { hash: 'sha512', options: pss },
  EdDSA: { hash: undefined, options: {} }
} as const

export type Algorithm = keyof typeof rows

export const algorithmNames = Object.keys(rows) as readonly Algorithm[]

export const isAlgorithm = (name: unknown): name is Algorithm => algorithmNames.includes(name as Algorithm)

/** A public key together with the one algorithm that it is for. */
export interface VerifyingKey {
  readonly kid: string
  readonly algorithm: Algorithm
  readonly hash: string | undefined
  readonly input: VerifyKeyObjectInput
  /** The key as text, to notice a change. */
  readonly text: string
}

/** The key of a JWK; undefined for one that is of no use here: without `kid` or `alg`, too short, or of an unknown kind. */
export async function importKey(jwk: JWK): Promise<VerifyingKey | undefined> {
  const { kid, alg, use = 'sig' } = jwk
  if (typeof kid !== 'string' || !isAlgorithm(alg) || use !== 'sig') return undefined
  try {
    const imported = await importJWK(jwk, alg)
    if (imported instanceof Uint8Array) return undefined
    const key = KeyObject.from(imported)
    // RFC 7518 §3.3: an RSA key has at least 2048 bits.
    if (key.type !== 'public' || (key.asymmetricKeyDetails?.modulusLength ?? 2048) < 2048) return undefined
    const { hash, options } = rows[alg]
    return { kid, algorithm: alg, hash, input: { key, ...options }, text: JSON.stringify(jwk) }
  } catch {
    return undefined
  }
}

/**
 * Whether the signature was made with `key`. Synchronous, by node:crypto: jose's verification through WebCrypto takes about
 * twice as much CPU for an ES256 token (bench/verifier.ts).
 */
export const isSignedBy = ({ hash, input }: VerifyingKey, signed: string, signature: Buffer): boolean =>
  verify(hash, Buffer.from(signed), input, signature)

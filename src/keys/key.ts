import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import type { AlgorithmName } from './algorithms.ts'
import { thumbprint } from './thumbprint.ts'

/** A key that signs and verifies, bound to one algorithm. Members are secret unless called public. */
export interface Key {
  readonly kid: string
  readonly algorithm: AlgorithmName
  /** PKCS#8 PEM, or the HMAC secret itself. */
  readonly privateText: string
  /** SPKI PEM; for HMAC the secret again. */
  readonly publicText: string
  /** An HMAC secret that is not text, as in most oct JWKs; the two members above are then its base64url. */
  readonly secretBytes?: Buffer
  /** The X.509 certificate in PEM from which the public key came, if any. */
  readonly certificate?: string
}

/**
 * The `kid` of a public key in PEM: the first 48 bits of its RFC 7638 thumbprint, as 8 characters. Shortened because every
 * token contains it: with all 43 characters, an ES256 access token for a user with a UUID would exceed 400 bytes. It only has
 * to distinguish the few keys of one keyring; the signature is the proof.
 */
export const kidOf = (publicPem: string): string =>
  thumbprint(createPublicKey(publicPem).export({ format: 'jwk' })).slice(0, 8)

/** A secret as a key. Its `kid` is an HMAC under the secret, so that it reveals no more than a signature does. */
export function secretKey(secret: string | Buffer, algorithm: AlgorithmName): Key {
  const kid = createHmac('sha256', secret).update('keyturn kid').digest('base64url').slice(0, 8)
  if (typeof secret === 'string') return { kid, algorithm, privateText: secret, publicText: secret }
  const text = secret.toString('base64url')
  return { kid, algorithm, privateText: text, publicText: text, secretBytes: secret }
}

/** A private key in PEM, with its public half. */
export const pairKey = (privatePem: string, publicPem: string, algorithm: AlgorithmName): Key => ({
  kid: kidOf(publicPem),
  algorithm,
  privateText: privatePem,
  publicText: publicPem
})

/**
 * A new ES256 key, which signs access tokens if SIGNING_KEY is not set. One key in 64 has a kid that begins with a hyphen; it is
 * discarded, since commands would parse that kid as an option.
 */
export function generateKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' }
  })
  const key = pairKey(privateKey, publicKey, 'ES256')
  return key.kid.startsWith('-') ? generateKey() : key
}

import { createHash, createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import type { AlgorithmName } from './algorithms.ts'

/** A key that signs and verifies, bound to one algorithm. What it holds is secret unless it says public. */
export interface Key {
  readonly kid: string
  readonly algorithm: AlgorithmName
  /** PKCS#8 PEM, or the HMAC secret itself. */
  readonly privateText: string
  /** SPKI PEM; for HMAC the secret again. */
  readonly publicText: string
}

/**
 * The `kid` of a public key: the first 48 bits of its RFC 7638 thumbprint, as 8 characters. Shortened because every token
 * carries it: with the whole 43 characters an ES256 access token for a UUID user would pass its 400 bytes.
 * It only has to tell the few keys of one keyring apart; the signature is what proves.
 */
export function kidOf(publicPem: string): string {
  const jwk = createPublicKey(publicPem).export({ format: 'jwk' })
  // RFC 7638 §3.2: the required members only, in lexicographic order, without blanks.
  const members =
    { EC: ['crv', 'kty', 'x', 'y'], RSA: ['e', 'kty', 'n'], OKP: ['crv', 'kty', 'x'] }[jwk.kty as string] ?? []
  const canonical = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])))
  return createHash('sha256').update(canonical).digest('base64url').slice(0, 8)
}

/** A secret as a key. Its `kid` is an HMAC under the secret, so that it tells nothing a signature does not tell. */
export const secretKey = (secret: string, algorithm: AlgorithmName): Key => ({
  kid: createHmac('sha256', secret).update('keyturn kid').digest('base64url').slice(0, 8),
  algorithm,
  privateText: secret,
  publicText: secret
})

/** A private key in PEM, with its public half. */
export const pairKey = (privatePem: string, publicPem: string, algorithm: AlgorithmName): Key => ({
  kid: kidOf(publicPem),
  algorithm,
  privateText: privatePem,
  publicText: publicPem
})

/** A new ES256 key: what signs access tokens when no SIGNING_KEY is given. */
export function generateKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' }
  })
  return pairKey(privateKey, publicKey, 'ES256')
}

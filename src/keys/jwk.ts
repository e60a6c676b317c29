import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { isSecretAlgorithm } from './algorithms.ts'
import type { Key } from './key.ts'
import { essence } from './thumbprint.ts'

/** A public key in the JWKS (RFC 7517 §4). */
export type PublicJwk = Readonly<Record<string, string>>

/** The public half of a key as a JWK; undefined for a secret. With `x5t#S256` if it came in a certificate. */
export function publicJwk({ kid, algorithm, publicText, certificate }: Key): PublicJwk | undefined {
  if (isSecretAlgorithm(algorithm)) return undefined
  const jwk = essence(createPublicKey(publicText).export({ format: 'jwk' }))
  const print = certificate && createHash('sha256').update(new X509Certificate(certificate).raw).digest('base64url')
  return { ...jwk, kid, alg: algorithm, use: 'sig', ...(print === undefined ? {} : { 'x5t#S256': print }) }
}

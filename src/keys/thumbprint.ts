import { createHash, type JsonWebKey } from 'node:crypto'

// RFC 7638 §3.2: the required members only, in lexicographic order.
const members: Readonly<Record<string, readonly (keyof JsonWebKey)[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  RSA: ['e', 'kty', 'n'],
  OKP: ['crv', 'kty', 'x'],
  oct: ['k', 'kty']
}

/** The members of a JWK that identify the key. */
export const essence = (jwk: JsonWebKey): Record<string, string> =>
  Object.fromEntries((members[jwk.kty ?? ''] ?? []).map((name) => [name, String(jwk[name])]))

/** The RFC 7638 thumbprint of a JWK: 43 characters. */
export const thumbprint = (jwk: JsonWebKey): string =>
  createHash('sha256')
    .update(JSON.stringify(essence(jwk)))
    .digest('base64url')

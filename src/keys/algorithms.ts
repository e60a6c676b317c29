import type { Config } from '../config/settings.ts'

export type AlgorithmName = NonNullable<Config['algorithm']>

/** The requirements of one JWS algorithm on its keys. */
export type AlgorithmRow =
  | { readonly keyType: 'secret' /** Least length in bytes: that of the hash. */; readonly leastBytes: number }
  | { readonly keyType: 'rsa' /** Least length of the modulus in bits. */; readonly leastBits: number }
  | { readonly keyType: 'ec' /** As OpenSSL names it. */; readonly curve: string }
  | { readonly keyType: 'ed25519' }

/** One row per JWS algorithm. Source: RFC 7518 §3.2 to §3.5 (minimum key sizes, curves), RFC 8037 §3.1 (EdDSA). */
export const algorithms: Readonly<Record<AlgorithmName, AlgorithmRow>> = {
  HS256: { keyType: 'secret', leastBytes: 32 },
  HS384: { keyType: 'secret', leastBytes: 48 },
  HS512: { keyType: 'secret', leastBytes: 64 },
  RS256: { keyType: 'rsa', leastBits: 2048 },
  RS384: { keyType: 'rsa', leastBits: 2048 },
  RS512: { keyType: 'rsa', leastBits: 2048 },
  PS256: { keyType: 'rsa', leastBits: 2048 },
  PS384: { keyType: 'rsa', leastBits: 2048 },
  PS512: { keyType: 'rsa', leastBits: 2048 },
  ES256: { keyType: 'ec', curve: 'prime256v1' },
  ES384: { keyType: 'ec', curve: 'secp384r1' },
  ES512: { keyType: 'ec', curve: 'secp521r1' },
  EdDSA: { keyType: 'ed25519' }
}

export const isSecretAlgorithm = (name: AlgorithmName): boolean => algorithms[name].keyType === 'secret'

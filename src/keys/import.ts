import { isUtf8 } from 'node:buffer'
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { Config } from '../config/settings.ts'
import { type AlgorithmName, type AlgorithmRow, algorithms, isSecretAlgorithm } from './algorithms.ts'
import { type Key, pairKey, secretKey } from './key.ts'

type KeySettings = Pick<Config, 'signingKey' | 'verifyingKey' | 'algorithm' | 'production'>

/**
 * SIGNING_KEY and VERIFYING_KEY as a key for ALGORITHM (by default HS256, as in Simple JWT); undefined without SIGNING_KEY.
 * Each is PEM (for VERIFYING_KEY also a certificate), a JWK, or a JWKS, whose first key for ALGORITHM is used; SIGNING_KEY
 * may also be a secret. Throws an Error whose message is a fault line: a key of the wrong type, too weak (RFC 7518 §3.2,
 * §3.3), or not a pair.
 */
export function importSigningKey(config: KeySettings): Key | undefined {
  if (config.signingKey === undefined) return undefined
  const algorithm = config.algorithm ?? 'HS256'
  const row = algorithms[algorithm]
  const jwk = parseJwk('SIGNING_KEY', config.signingKey, algorithm)
  const key =
    row.keyType === 'secret'
      ? importSecret(config.signingKey, jwk, algorithm, row.leastBytes, config.production)
      : importPair(jwk ?? config.signingKey, config.verifyingKey, algorithm, row)
  return typeof jwk?.kid === 'string' && jwk.kid !== '' ? { ...key, kid: jwk.kid } : key
}

/**
 * SIGNING_KEY_PREVIOUS as a key for ALGORITHM_PREVIOUS; undefined when it is not set. Throws as importSigningKey, by
 * its own name.
 */
export function importPreviousKey({ signingKeyPrevious, algorithmPrevious, production }: Config): Key | undefined {
  try {
    return importSigningKey({
      signingKey: signingKeyPrevious,
      verifyingKey: undefined,
      algorithm: algorithmPrevious,
      production
    })
  } catch (error) {
    throw new Error(
      (error as Error).message.replace('SIGNING_KEY', 'SIGNING_KEY_PREVIOUS').replace('ALGORITHM', 'ALGORITHM_PREVIOUS')
    )
  }
}

/**
 * A private key for `keyturn keys import`, in any form SIGNING_KEY takes. Throws as importSigningKey, and for a secret.
 */
export function importPrivateKey(text: string, algorithm: AlgorithmName): Key {
  if (isSecretAlgorithm(algorithm)) throw new Error(`${algorithm}: expected an algorithm of a key pair, such as ES256.`)
  return importSigningKey({ signingKey: text, verifyingKey: undefined, algorithm, production: false }) as Key
}

function importSecret(
  text: string,
  jwk: JsonWebKey | undefined,
  algorithm: AlgorithmName,
  leastBytes: number,
  production: boolean
): Key {
  if (/-----BEGIN [A-Z ]+-----/.test(text)) {
    throw new Error(
      `SIGNING_KEY: got an asymmetric key, expected a secret for ${algorithm} (or set ALGORITHM to that of the key, such as RS256 or ES256).`
    )
  }
  const secret = jwk === undefined ? text : secretOf(jwk)
  const bytes = Buffer.byteLength(secret)
  if (bytes < leastBytes) {
    throw new Error(
      `SIGNING_KEY: got ${bytes} bytes, expected at least ${leastBytes} for ${algorithm} (openssl rand -base64 64 generates one).`
    )
  }
  if (production && (String(secret).startsWith('django-insecure-') || new Set<string | number>(secret).size < 8)) {
    throw new Error(
      'SIGNING_KEY: got a secret that is easily guessed, expected a random one in production (openssl rand -base64 64 generates one).'
    )
  }
  return secretKey(secret, algorithm)
}

/** The secret of an oct JWK (RFC 7518 §6.4): as text if it is UTF-8, as in Django's settings, otherwise bytes. */
function secretOf({ k }: JsonWebKey): string | Buffer {
  if (typeof k !== 'string') throw new Error('SIGNING_KEY: got a JWK without k, expected one with the secret in k.')
  const bytes = Buffer.from(k, 'base64url')
  return isUtf8(bytes) ? bytes.toString() : bytes
}

function importPair(
  signing: JsonWebKey | string,
  verifying: string | undefined,
  algorithm: AlgorithmName,
  row: AlgorithmRow
): Key {
  const privateKey = readKey('SIGNING_KEY', 'private', signing, createPrivateKey)
  const misfit = describeMisfit(privateKey, row)
  if (misfit !== undefined) throw new Error(`SIGNING_KEY: got ${misfit} for ${algorithm}.`)
  const publicPem = exportPublic(createPublicKey(privateKey))
  const key = pairKey(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, publicPem, algorithm)
  if (verifying === undefined) return key
  const given = readKey(
    'VERIFYING_KEY',
    'public',
    parseJwk('VERIFYING_KEY', verifying, algorithm) ?? verifying,
    createPublicKey
  )
  if (exportPublic(given) !== publicPem) {
    throw new Error('VERIFYING_KEY: got a different key, expected the public half of SIGNING_KEY.')
  }
  const isCertificate = verifying.includes('-----BEGIN CERTIFICATE-----')
  return isCertificate ? { ...key, certificate: withNewlines(verifying) } : key
}

/**
 * A JWK, or the first key for `algorithm` of a JWKS; undefined for any other text, since a secret may also begin with a
 * brace.
 */
function parseJwk(variable: string, text: string, algorithm: AlgorithmName): JsonWebKey | undefined {
  const json = parseObject(text)
  if (Array.isArray(json?.keys)) {
    const found = (json.keys as (JsonWebKey | null)[]).find((key) => key !== null && isFor(key, algorithm))
    if (!found) throw new Error(`${variable}: got a JWKS without a key for ${algorithm}.`)
    return found
  }
  if (typeof json?.kty !== 'string') return undefined
  if (isFor(json, algorithm)) return json
  const got = json.alg === undefined ? `of type ${json.kty}` : `for ${json.alg}`
  throw new Error(`${variable}: got a JWK ${got}, expected one for ${algorithm} (or set ALGORITHM to that of the key).`)
}

function parseObject(text: string): (JsonWebKey & { readonly keys?: unknown }) | undefined {
  if (!text.trimStart().startsWith('{')) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const jwkTypes: Readonly<Record<AlgorithmRow['keyType'], string>> = {
  secret: 'oct',
  rsa: 'RSA',
  ec: 'EC',
  ed25519: 'OKP'
}

const isFor = (jwk: JsonWebKey, algorithm: AlgorithmName): boolean =>
  jwk.kty === jwkTypes[algorithms[algorithm].keyType] && (jwk.alg ?? algorithm) === algorithm

function readKey(
  variable: string,
  kind: string,
  source: JsonWebKey | string,
  read: (source: string | { key: JsonWebKey; format: 'jwk' }) => KeyObject
): KeyObject {
  try {
    return read(typeof source === 'string' ? withNewlines(source) : { key: source, format: 'jwk' })
  } catch {
    throw new Error(
      `${variable}: got text that is not a key, expected a ${kind} key in PEM without a passphrase, or a JWK.`
    )
  }
}

/** Environment files often hold a PEM on one line, with \n or \r\n written out. */
const withNewlines = (pem: string): string => pem.replace(/\\r\\n|\\n|\\r/g, '\n')

const exportPublic = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string

function describeMisfit(key: KeyObject, row: AlgorithmRow): string | undefined {
  const { namedCurve, modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  const got = `${/^[aerx]/.test(key.asymmetricKeyType ?? '') ? 'an' : 'a'} ${key.asymmetricKeyType} key`
  if (row.keyType !== key.asymmetricKeyType)
    return `${got}, expected ${row.keyType === 'rsa' ? 'an rsa' : `an ${row.keyType}`} one`
  if (row.keyType === 'ec' && namedCurve !== row.curve)
    return `an ec key on ${namedCurve}, expected one on ${row.curve}`
  if (row.keyType === 'rsa' && modulusLength < row.leastBits)
    return `an rsa key of ${modulusLength} bits, expected at least ${row.leastBits}`
  // With exponent 1 a message is its own signature; an even exponent cannot be inverted (RFC 8017 §3.1).
  if (row.keyType === 'rsa' && (publicExponent < 3n || publicExponent % 2n === 0n))
    return `an rsa key with the public exponent ${publicExponent}, expected an odd one of at least 3`
  return undefined
}

/** The fault lines of importSigningKey and importPreviousKey: at most one for each key. */
export function checkSigningKey(config: Config): readonly string[] {
  if (config.signingKey === undefined && config.algorithm !== undefined && config.algorithm !== 'ES256') {
    return [
      `SIGNING_KEY: not set, expected a key for ALGORITHM=${config.algorithm} (the keys that Keyturn generates are for ES256).`
    ]
  }
  return [importSigningKey, importPreviousKey].flatMap((importKey) => {
    try {
      importKey(config)
      return []
    } catch (error) {
      return [(error as Error).message]
    }
  })
}

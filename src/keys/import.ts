import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { Config } from '../config/settings.ts'
import { type AlgorithmName, type AlgorithmRow, algorithms } from './algorithms.ts'
import { type Key, pairKey, secretKey } from './key.ts'

/**
 * SIGNING_KEY and VERIFYING_KEY as a key for ALGORITHM (HS256 when that is absent, as Simple JWT has it); undefined without SIGNING_KEY.
 * Throws an Error whose message is a fault line: a key of the wrong type, too weak (RFC 7518 §3.2, §3.3), or not its own pair.
 */
export function importSigningKey(
  config: Pick<Config, 'signingKey' | 'verifyingKey' | 'algorithm' | 'production'>
): Key | undefined {
  if (config.signingKey === undefined) return undefined
  const algorithm = config.algorithm ?? 'HS256'
  const row = algorithms[algorithm]
  return row.keyType === 'secret'
    ? importSecret(config.signingKey, algorithm, row.leastBytes, config.production)
    : importPair(config.signingKey, config.verifyingKey, algorithm, row)
}

function importSecret(secret: string, algorithm: AlgorithmName, leastBytes: number, production: boolean): Key {
  const bytes = Buffer.byteLength(secret)
  if (/-----BEGIN [A-Z ]+-----/.test(secret)) {
    throw new Error(
      `SIGNING_KEY: got a PEM key, expected a secret for ${algorithm} (or set ALGORITHM to that of the key, as RS256 or ES256).`
    )
  }
  if (bytes < leastBytes) {
    throw new Error(
      `SIGNING_KEY: got ${bytes} bytes, expected at least ${leastBytes} for ${algorithm} (openssl rand -base64 64 makes one).`
    )
  }
  if (production && (secret.startsWith('django-insecure-') || new Set(secret).size < 8)) {
    throw new Error(
      'SIGNING_KEY: got a secret that is easily guessed, expected a random one in production (openssl rand -base64 64 makes one).'
    )
  }
  return secretKey(secret, algorithm)
}

function importPair(signing: string, verifying: string | undefined, algorithm: AlgorithmName, row: AlgorithmRow): Key {
  const privateKey = readPem('SIGNING_KEY', 'private', signing, createPrivateKey)
  const misfit = describeMisfit(privateKey, row)
  if (misfit !== undefined) throw new Error(`SIGNING_KEY: got ${misfit} for ${algorithm}.`)
  const publicPem = exportPublic(createPublicKey(privateKey))
  if (
    verifying !== undefined &&
    exportPublic(readPem('VERIFYING_KEY', 'public', verifying, createPublicKey)) !== publicPem
  ) {
    throw new Error('VERIFYING_KEY: got another key, expected the public half of SIGNING_KEY.')
  }
  return pairKey(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, publicPem, algorithm)
}

/** Environment files often hold a PEM on one line, with \n written out. */
function readPem(variable: string, kind: string, text: string, read: (pem: string) => KeyObject): KeyObject {
  try {
    return read(text.replaceAll('\\n', '\n'))
  } catch {
    throw new Error(`${variable}: got a text that is no key, expected a ${kind} key in PEM, without a passphrase.`)
  }
}

const exportPublic = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string

function describeMisfit(key: KeyObject, row: AlgorithmRow): string | undefined {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  const got = `${/^[aerx]/.test(key.asymmetricKeyType ?? '') ? 'an' : 'a'} ${key.asymmetricKeyType} key`
  if (row.keyType !== key.asymmetricKeyType)
    return `${got}, expected ${row.keyType === 'rsa' ? 'an rsa' : `an ${row.keyType}`} one`
  if (row.keyType === 'ec' && namedCurve !== row.curve)
    return `an ec key on ${namedCurve}, expected one on ${row.curve}`
  if (row.keyType === 'rsa' && modulusLength < row.leastBits)
    return `an rsa key of ${modulusLength} bits, expected at least ${row.leastBits}`
  return undefined
}

/** The configuration's look at its keys: the fault line of importSigningKey, if it has one. */
export function checkSigningKey(config: Config): readonly string[] {
  try {
    if (config.signingKey === undefined && config.algorithm !== undefined && config.algorithm !== 'ES256') {
      return [
        `SIGNING_KEY: not set, expected a key for ALGORITHM=${config.algorithm} (the keys Keyturn makes itself are for ES256).`
      ]
    }
    importSigningKey(config)
    return []
  } catch (error) {
    return [(error as Error).message]
  }
}

/** Keys and signatures made with node:crypto alone: what another service, or an attacker, could make. */
import {
  constants,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify
} from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AlgorithmName, algorithms } from '../../src/keys/algorithms.ts'

/** A key of either kind; a secret has no public half. */
export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject | undefined
  /** As SIGNING_KEY takes it: PEM, or the secret. */
  readonly text: string
}

const hashOf = (algorithm: string): string | null => (algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`)

/** The node:crypto options for an algorithm; undefined if the key determines them. */
function optionsOf(algorithm: string, key: KeyObject) {
  if (algorithm.startsWith('PS')) {
    return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
  }
  return algorithm.startsWith('ES') ? { key, dsaEncoding: 'ieee-p1363' as const } : key
}

/** The signature of `input` under an algorithm, whatever the key is for. Throws where the key cannot do it at all. */
export const signatureOf = (algorithm: string, key: KeyObject, input: string): Buffer =>
  algorithm.startsWith('HS')
    ? createHmac(hashOf(algorithm) as string, key)
        .update(input)
        .digest()
    : sign(hashOf(algorithm), Buffer.from(input), optionsOf(algorithm, key))

export const isSignatureOf = (algorithm: string, key: KeyObject, input: string, signature: Buffer): boolean =>
  algorithm.startsWith('HS')
    ? signatureOf(algorithm, key, input).equals(signature)
    : verify(hashOf(algorithm), Buffer.from(input), optionsOf(algorithm, key), signature)

export const encode = (value: unknown): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))).toString(
    'base64url'
  )

/** One part of a token as JSON. */
export const decodePart = (token: string, part: 0 | 1): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[part] ?? '', 'base64url').toString())

/** A token of these parts, whatever they are. */
export const joinSigned = (algorithm: string, key: KeyObject, head: string, body: string): string =>
  `${head}.${body}.${signatureOf(algorithm, key, `${head}.${body}`).toString('base64url')}`

/** A token as another holder of a shared secret makes it, by HS256. */
export const signShared = (secret: string, claims: object): string =>
  joinSigned('HS256', createSecretKey(Buffer.from(secret)), encode({ alg: 'HS256', typ: 'JWT' }), encode(claims))

/** A new key for an algorithm; of RSA the same one for all six, so that a test of their mixing means something. */
export function makeKeyPair(algorithm: AlgorithmName): KeyPair {
  const row = algorithms[algorithm]
  if (row.keyType === 'secret') {
    const text = randomBytes(48).toString('base64url')
    return { privateKey: createSecretKey(Buffer.from(text)), publicKey: undefined, text }
  }
  if (row.keyType === 'ec') return toPair(generateKeyPairSync('ec', { namedCurve: row.curve }).privateKey)
  if (row.keyType === 'ed25519') return toPair(generateKeyPairSync('ed25519').privateKey)
  return toPair(generateKeyPairSync('rsa', { modulusLength: row.leastBits }).privateKey)
}

/** A private key in PEM, or a secret, as a pair. */
export const readKeyPair = (text: string): KeyPair =>
  text.startsWith('-----')
    ? toPair(createPrivateKey(text))
    : { privateKey: createSecretKey(Buffer.from(text)), publicKey: undefined, text }

const toPair = (privateKey: KeyObject): KeyPair => ({
  privateKey,
  publicKey: createPublicKey(privateKey),
  text: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
})

/** A self-signed certificate in PEM, of two days. */
export function makeCertificate(privateKey: KeyObject): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-certificate-'))
  try {
    const key = join(folder, 'key.pem')
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    const args = ['req', '-x509', '-new', '-key', key, '-subj', '/CN=keyturn', '-days', '2']
    return execFileSync('openssl', args, { encoding: 'utf8' })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

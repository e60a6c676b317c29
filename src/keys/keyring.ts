import { createPublicKey, hkdfSync, randomBytes } from 'node:crypto'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import type { Clock } from '../time.ts'
import { isSecretAlgorithm } from './algorithms.ts'
import { importSigningKey } from './import.ts'
import { generateKey, type Key, pairKey, secretKey } from './key.ts'
import { seal, unseal } from './sealing.ts'
import type { KeyPurpose, KeyStore, StoredKey } from './store.ts'

/** Every key this service holds. */
export interface Keyring {
  /** Signs access tokens. */
  readonly access: Key
  /** Signs refresh tokens: SIGNING_KEY itself when that is a secret, as Simple JWT has it, otherwise one derived from the internal key. */
  readonly refresh: Key
  /** Derives the `jti` of refresh tokens. Nobody else holds it, even where SIGNING_KEY is shared. */
  readonly jtiSecret: Buffer
}

/**
 * Reads the keyring, making at the first start what is not there yet. `secret` seals the keys at rest.
 * Throws ConfigError when the stored keys were sealed with another secret.
 */
export async function openKeyring(config: Config, store: KeyStore, secret: string, clock: Clock): Promise<Keyring> {
  const fixed = importSigningKey(config)
  const stored = async (purpose: KeyPurpose, make: () => Key): Promise<Key> => {
    const active = (keys: readonly StoredKey[]) => keys.find((key) => key.purpose === purpose && key.state === 'active')
    const found = active(await store.list())
    if (found !== undefined) return open(found, secret)
    const { kid, algorithm, privateText } = make()
    await store.addFirst({
      kid,
      purpose,
      algorithm,
      state: 'active',
      sealed: seal(privateText, kid, secret),
      createdAt: clock()
    })
    return open(active(await store.list()) as StoredKey, secret)
  }
  const internal = await stored('internal', () => secretKey(randomBytes(32).toString('base64url'), 'HS256'))
  const derive = (use: string): Buffer => Buffer.from(hkdfSync('sha256', internal.privateText, '', use, 32))
  return {
    access: fixed ?? (await stored('access', generateKey)),
    refresh:
      fixed !== undefined && isSecretAlgorithm(fixed.algorithm)
        ? fixed
        : secretKey(derive('refresh token').toString('base64url'), 'HS256'),
    jtiSecret: derive('refresh jti')
  }
}

function open(key: StoredKey, secret: string): Key {
  const privateText = unseal(key.sealed, key.kid, secret)
  if (privateText === undefined) {
    throw new ConfigError([
      'KEY_ENCRYPTION_SECRET: does not open the keys in the database, expected the secret they were sealed with (without one, that was SIGNING_KEY as it was then).'
    ])
  }
  if (isSecretAlgorithm(key.algorithm)) return secretKey(privateText, key.algorithm)
  const publicPem = createPublicKey(privateText).export({ type: 'spki', format: 'pem' }) as string
  return pairKey(privateText, publicPem, key.algorithm)
}

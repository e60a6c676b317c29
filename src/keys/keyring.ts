import { createPublicKey, hkdfSync, randomBytes } from 'node:crypto'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import type { Clock } from '../time.ts'
import { isSecretAlgorithm } from './algorithms.ts'
import { importPreviousKey, importSigningKey } from './import.ts'
import { generateKey, type Key, pairKey, secretKey } from './key.ts'
import { planRotation, type RotationPolicy } from './rotation.ts'
import { seal, unseal } from './sealing.ts'
import type { KeyPurpose, KeyStore, SealFor, StoredKey } from './store.ts'

/** All current keys of the service. */
export interface Keys {
  /** Signs access tokens. */
  readonly signing: Key
  /** When the signing key became active, in whole seconds since the epoch; undefined for SIGNING_KEY. */
  readonly signingSince: number | undefined
  /**
   * Verify access tokens: the signing key, the next one, the retired ones and SIGNING_KEY_PREVIOUS. Their public halves are in
   * the JWKS.
   */
  readonly verifying: readonly Key[]
  /**
   * Verify tokens without a `kid` of ours: SIGNING_KEY and the previous one, since Simple JWT's tokens have no `kid`. Tokens of
   * managed keys always have one.
   */
  readonly unnamed: readonly Key[]
  /**
   * Signs refresh tokens: SIGNING_KEY itself if that is a secret, as in Simple JWT, otherwise a key derived from the internal
   * key.
   */
  readonly refresh: Key
  /** Derives the `jti` of refresh tokens. It is never shared, even if SIGNING_KEY is. */
  readonly jtiSecret: Buffer
  /** Selects the decoy of a username. The same in all processes, so that a username costs the same in each. */
  readonly decoySecret: Buffer
  /** Derives the keys of guess budgets, so that a copy of the store reveals no usernames or addresses. */
  readonly guessSecret: Buffer
}

/** The current keys and their rotation. */
export interface Keyring {
  keys(): Keys
  /**
   * Carries out rotations that are due, and loads those of other processes. Resolves with whether the keys have changed. Fixed
   * keys never change. Throws KeyturnError STORE_DOWN; the keys then stay the same.
   */
  update(): Promise<boolean>
}

export interface KeyringOptions {
  readonly store: KeyStore
  /** Encrypts stored keys, and is the first secret tried to decrypt them. */
  readonly secret: string
  /** Decrypts keys that were encrypted before the secret changed. */
  readonly previousSecret: string | undefined
  readonly clock: Clock
  /** Called for each key that this process has published, activated or removed on schedule. */
  readonly rotated?: (event: 'key_publish' | 'key_activate' | 'key_retire', kid: string) => void
}

/** KEY_ROTATION_INTERVAL and the durations derived from it. */
export function rotationPolicy(config: Config): RotationPolicy {
  const jwksLifetime = config.jwksMaxAge
  // Until every worker has seen a change: each polls every two seconds (plugins/jwt.ts).
  const untilSeen = 5
  const longestLifetime = Math.max(config.accessTokenLifetime, config.slidingTokens ? config.slidingTokenLifetime : 0)
  return {
    interval: config.keyRotationInterval,
    // Twice, since a verifier may fetch the JWKS through a cache that has already held it that long.
    publishAhead: 2 * jwksLifetime + untilSeen,
    keepRetired: longestLifetime + config.leeway + 2 * jwksLifetime + untilSeen
  }
}

/**
 * Reads the keyring and creates missing keys at the first start.
 * Throws ConfigError if the stored keys were encrypted with another secret.
 */
export async function openKeyring(config: Config, options: KeyringOptions): Promise<Keyring> {
  const { store, clock } = options
  const fixed = importSigningKey(config)
  const given = [fixed, importPreviousKey(config)].filter((key) => key !== undefined)
  const policy = rotationPolicy(config)
  const opened = new Map<string, Key>()
  const open = (stored: StoredKey): Key => {
    // The key of the map is the ciphertext, with the state that is authenticated with it.
    const id = `${stored.state} ${stored.sealed}`
    const key = opened.get(id) ?? openKey(stored, options)
    opened.set(id, key)
    return key
  }

  const read = async (): Promise<Keys> => {
    const stored = await store.list()
    const internal = open(active(stored, 'internal') as StoredKey)
    const managed = stored.filter(({ purpose }) => purpose === 'access')
    return {
      signing: fixed ?? open(active(stored, 'access') as StoredKey),
      signingSince: fixed === undefined ? active(stored, 'access')?.activatedAt : undefined,
      verifying: fixed === undefined ? [...managed.map(open), ...given] : given,
      unnamed: given,
      refresh:
        fixed !== undefined && isSecretAlgorithm(fixed.algorithm)
          ? fixed
          : secretKey(derive(internal, 'refresh token').toString('base64url'), 'HS256'),
      jtiSecret: derive(internal, 'refresh jti'),
      decoySecret: derive(internal, 'decoy'),
      guessSecret: derive(internal, 'guess')
    }
  }

  await ensureInternal(options)
  if (fixed === undefined && active(await store.list(), 'access') === undefined) {
    await store.addFirst(toStored(generateKey(), 'access', 'active', options))
  }
  let keys = await read()
  return {
    keys: () => keys,
    async update() {
      if (fixed !== undefined) return false
      await rotate(store, policy, clock(), options)
      const before = keys
      keys = await read()
      return kids(before) !== kids(keys)
    }
  }
}

/** The secret that chains the audit trail, for callers that need no other key. Throws ConfigError as openKeyring does. */
export async function openAuditSecret(options: KeyringOptions): Promise<Buffer> {
  await ensureInternal(options)
  return derive(openKey(active(await options.store.list(), 'internal') as StoredKey, options), 'audit trail')
}

const derive = ({ privateText }: Key, use: string): Buffer => Buffer.from(hkdfSync('sha256', privateText, '', use, 32))

/** Generates the internal key at the first start. */
async function ensureInternal(options: KeyringOptions): Promise<void> {
  const { store } = options
  if (active(await store.list(), 'internal') !== undefined) return
  await store.addFirst(
    toStored(secretKey(randomBytes(32).toString('base64url'), 'HS256'), 'internal', 'active', options)
  )
}

/** Carries out the steps that planRotation finds due. */
async function rotate(store: KeyStore, policy: RotationPolicy, now: number, options: KeyringOptions): Promise<void> {
  const { rotated } = options
  for (const step of planRotation(await store.list(), now, policy)) {
    if (step.kind === 'publish') {
      const key = generateKey()
      if (await publishNext(options, key)) rotated?.('key_publish', key.kid)
    } else if (step.kind === 'activate') {
      if (await store.activate(step.kid, now, sealFor(options))) rotated?.('key_activate', step.kid)
    } else if (await store.drop(step.kid)) rotated?.('key_retire', step.kid)
  }
}

/**
 * Publishes a new key, unless there is a next key already; the key signs once every verifier has had time to fetch it. Returns
 * whether it was published.
 */
export const publishNext = (options: KeyringOptions, key: Key = generateKey()): Promise<boolean> =>
  options.store.addFirst(toStored(key, 'access', 'next', options))

const toStored = (
  { kid, algorithm, privateText }: Key,
  purpose: KeyPurpose,
  state: 'active' | 'next',
  { secret, clock }: KeyringOptions
): StoredKey => {
  const key = { kid, purpose, algorithm, state }
  return {
    ...key,
    sealed: sealText(privateText, key, secret),
    createdAt: clock(),
    activatedAt: state === 'active' ? clock() : undefined,
    retiredAt: undefined
  }
}

/** The data authenticated together with a private key: a row in which any of it was changed cannot be decrypted. */
type Bound = Pick<StoredKey, 'kid' | 'purpose' | 'algorithm' | 'state'>

const nameOf = ({ kid, purpose, algorithm, state }: Bound): string => [purpose, algorithm, state, kid].join(' ')

/**
 * Marks a key that is encrypted together with its row; before, it was encrypted with its kid alone. Such keys can be decrypted,
 * and are kept until they change state or are resealed: during an upgrade the older version, which cannot decrypt the new form,
 * still runs beside this one.
 */
const prefix = 'v2.'

const sealText = (privateText: string, key: Bound, secret: string): string =>
  `${prefix}${seal(privateText, nameOf(key), secret)}`

/** Decrypts a key and encrypts it for another state with the current secret. Throws ConfigError as openKey does. */
export const sealFor =
  (options: Pick<KeyringOptions, 'secret' | 'previousSecret'>): SealFor =>
  (key, state) =>
    sealText(openKey(key, options).privateText, { ...key, state }, options.secret)

const active = (keys: readonly StoredKey[], purpose: KeyPurpose): StoredKey | undefined =>
  keys.find((key) => key.purpose === purpose && key.state === 'active')

/** The signing key and the verifying keys as a string, for comparison. */
const kids = ({ signing, verifying }: Keys): string => [signing, ...verifying].map(({ kid }) => kid).join()

/** Decrypts a stored key with the current or the previous secret. Throws ConfigError if neither works. */
export function openKey(
  key: StoredKey,
  { secret, previousSecret }: Pick<KeyringOptions, 'secret' | 'previousSecret'>
): Key {
  const isBound = key.sealed.startsWith(prefix)
  const [sealed, name] = isBound ? [key.sealed.slice(prefix.length), nameOf(key)] : [key.sealed, key.kid]
  const privateText =
    unseal(sealed, name, secret) ?? (previousSecret === undefined ? undefined : unseal(sealed, name, previousSecret))
  if (privateText === undefined) {
    throw new ConfigError([
      'KEY_ENCRYPTION_SECRET: cannot decrypt the keys in the database, expected the secret with which they were encrypted (if none was set, the SIGNING_KEY of that time). After a change, set the previous secret as KEY_ENCRYPTION_SECRET_PREVIOUS. If the secret did not change, a row of keyturn_keys did.'
    ])
  }
  if (isSecretAlgorithm(key.algorithm)) return secretKey(privateText, key.algorithm)
  const publicPem = createPublicKey(privateText).export({ type: 'spki', format: 'pem' }) as string
  return { ...pairKey(privateText, publicPem, key.algorithm), kid: key.kid }
}

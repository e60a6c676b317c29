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

/** Every key this service holds, as of now. */
export interface Keys {
  /** Signs access tokens. */
  readonly signing: Key
  /**
   * Verify access tokens: the signing key, the next one, the retired ones and SIGNING_KEY_PREVIOUS. What is public of
   * them is in the JWKS.
   */
  readonly verifying: readonly Key[]
  /**
   * Verify tokens that name none of our keys: SIGNING_KEY and the previous one, since Simple JWT's tokens name no key.
   * Of managed keys each is named.
   */
  readonly unnamed: readonly Key[]
  /**
   * Signs refresh tokens: SIGNING_KEY itself when that is a secret, as Simple JWT has it, otherwise one derived from
   * the internal key.
   */
  readonly refresh: Key
  /** Derives the `jti` of refresh tokens. It is never shared, even if SIGNING_KEY is. */
  readonly jtiSecret: Buffer
  /** Draws the decoy of a username. The same in all processes, so that a name costs the same in each. */
  readonly decoySecret: Buffer
  /** Names the budgets of guesses, so that a copy of them reveals no names or addresses. */
  readonly guessSecret: Buffer
}

/** The keys, and how they come to change. */
export interface Keyring {
  keys(): Keys
  /**
   * Rotates what is due, and takes over what other processes have rotated: resolves with whether the keys have changed.
   * Fixed keys never do. Throws KeyturnError STORE_DOWN; the keys then stay as they are.
   */
  update(): Promise<boolean>
}

export interface KeyringOptions {
  readonly store: KeyStore
  /** Seals the keys at rest, and opens them first. */
  readonly secret: string
  /** Opens keys that were sealed before the secret was changed. */
  readonly previousSecret: string | undefined
  readonly clock: Clock
  /** Called for each key that this process has published, activated or removed by schedule. */
  readonly rotated?: (event: 'key_publish' | 'key_activate' | 'key_retire', kid: string) => void
}

/** KEY_ROTATION_INTERVAL and what follows from it. */
export function rotationPolicy(config: Config): RotationPolicy {
  const jwksLifetime = config.jwksMaxAge
  // Until every worker has seen a change: each looks every two seconds (plugins/jwt.ts).
  const untilSeen = 5
  const longestLifetime = Math.max(config.accessTokenLifetime, config.slidingTokens ? config.slidingTokenLifetime : 0)
  return {
    interval: config.keyRotationInterval,
    // Twice, since a verifier may fetch the JWKS through a cache that has kept it for as long already.
    publishAhead: 2 * jwksLifetime + untilSeen,
    keepRetired: longestLifetime + config.leeway + 2 * jwksLifetime + untilSeen
  }
}

/**
 * Reads the keyring, making at the first start what is not there yet.
 * Throws ConfigError when the stored keys were sealed with another secret.
 */
export async function openKeyring(config: Config, options: KeyringOptions): Promise<Keyring> {
  const { store, clock } = options
  const fixed = importSigningKey(config)
  const given = [fixed, importPreviousKey(config)].filter((key) => key !== undefined)
  const policy = rotationPolicy(config)
  const opened = new Map<string, Key>()
  const open = (stored: StoredKey): Key => {
    // By what is sealed, and the state that it must have been sealed with.
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

/** The secret that chains the audit trail, for who needs no other key. Throws ConfigError as openKeyring does. */
export async function openAuditSecret(options: KeyringOptions): Promise<Buffer> {
  await ensureInternal(options)
  return derive(openKey(active(await options.store.list(), 'internal') as StoredKey, options), 'audit trail')
}

const derive = ({ privateText }: Key, use: string): Buffer => Buffer.from(hkdfSync('sha256', privateText, '', use, 32))

/** Makes the internal key at the first start. */
async function ensureInternal(options: KeyringOptions): Promise<void> {
  const { store } = options
  if (active(await store.list(), 'internal') !== undefined) return
  await store.addFirst(
    toStored(secretKey(randomBytes(32).toString('base64url'), 'HS256'), 'internal', 'active', options)
  )
}

/** Does what planRotation finds due. */
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
 * Publishes a new key that will sign once every verifier can know it; nothing when there is a next key already. Whether it was
 * published.
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

/** What is sealed with a private text: a row in which any of it was changed does not open. */
type Bound = Pick<StoredKey, 'kid' | 'purpose' | 'algorithm' | 'state'>

const nameOf = ({ kid, purpose, algorithm, state }: Bound): string => [purpose, algorithm, state, kid].join(' ')

/**
 * Marks a text that was sealed with its row. Before, it was sealed with its kid alone. Such keys are opened, and stay as
 * they are until they change state or are resealed: during an upgrade the older version, which cannot open the new form,
 * still runs beside this one.
 */
const prefix = 'v2.'

const sealText = (privateText: string, key: Bound, secret: string): string =>
  `${prefix}${seal(privateText, nameOf(key), secret)}`

/** Opens a key, and seals it for another state with today's secret. Throws ConfigError as openKey does. */
export const sealFor =
  (options: Pick<KeyringOptions, 'secret' | 'previousSecret'>): SealFor =>
  (key, state) =>
    sealText(openKey(key, options).privateText, { ...key, state }, options.secret)

const active = (keys: readonly StoredKey[], purpose: KeyPurpose): StoredKey | undefined =>
  keys.find((key) => key.purpose === purpose && key.state === 'active')

/** The signing key and the verifying ones, as a text to compare. */
const kids = ({ signing, verifying }: Keys): string => [signing, ...verifying].map(({ kid }) => kid).join()

/** A stored key, opened with today's secret or the one before. Throws ConfigError when neither opens it. */
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
      'KEY_ENCRYPTION_SECRET: does not open the keys in the database, expected the secret they were sealed with (without one, that was SIGNING_KEY as it was then). After a change, give the former one as KEY_ENCRYPTION_SECRET_PREVIOUS. If it was not changed, a row of keyturn_keys was.'
    ])
  }
  if (isSecretAlgorithm(key.algorithm)) return secretKey(privateText, key.algorithm)
  const publicPem = createPublicKey(privateText).export({ type: 'spki', format: 'pem' }) as string
  return { ...pairKey(privateText, publicPem, key.algorithm), kid: key.kid }
}

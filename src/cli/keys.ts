import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import type { RecordAct } from '../flows/management/act.ts'
import { makeManageKeys } from '../flows/management/keys.ts'
import { type AlgorithmName, algorithms } from '../keys/algorithms.ts'
import { checkSigningKey, importPrivateKey } from '../keys/import.ts'
import { publicJwk } from '../keys/jwk.ts'
import { type KeyringOptions, openKey, openKeyring, publishNext, rotationPolicy, sealFor } from '../keys/keyring.ts'
import { showKey, type StoredKey } from '../keys/store.ts'
import { showTime } from '../time.ts'
import { keyringOptions, withDatabase } from './database.ts'
import { openRecordAct, operator } from './record.ts'
import { print, printLines, Refusal, readInput, say } from './terminal.ts'

/** `keyturn keys list`. */
export async function listKeys({ json }: { readonly json?: boolean }): Promise<void> {
  const keys = await withKeys(async (options) => accessKeys(await options.store.list()))
  if (json !== true) print(tableLine('kid', 'algorithm', 'state', 'published', 'active since', 'retired'))
  for (const key of keys.map(showKey)) print(json === true ? JSON.stringify(key) : toTableLine(key))
}

const toTableLine = ({
  kid,
  algorithm,
  state,
  published_at,
  activated_at,
  retired_at
}: ReturnType<typeof showKey>): string =>
  tableLine(kid, algorithm, state, published_at, activated_at ?? '', retired_at ?? '')

/** `keyturn keys rotate [--now]`: prints the kid of the new key. */
export async function rotateKeys({ now }: { readonly now?: boolean }): Promise<void> {
  await withKeys(async (options, config, record) => {
    const rotation = rotationPolicy(config)
    const manage = makeManageKeys({ keyring: options, isFixed: false, rotation, record })
    const { key, signsFrom } = await manage.rotate(operator, { isImmediate: now === true })
    say(
      now === true
        ? `The key below signs from now on. Verifiers with a cached JWKS may refuse its tokens for up to ${rotation.publishAhead} seconds.`
        : `The key below is published and signs from ${showTime(signsFrom)} on.`
    )
    print(key.kid)
  })
}

/** `keyturn keys retire KID`: removes a next or retired key from the keyring. */
export async function retireKey(kid: string): Promise<void> {
  await withKeys(async (options, _config, record) => {
    const { state } = await findKey(options, kid)
    if (state === 'active') throw new Refusal(`The key ${kid} is active. Replace it first with keys rotate --now.`)
    await options.store.drop(kid)
    await record('key_retire', operator, { object: kid })
    say(`Removed the key ${kid}; every worker refuses its tokens within seconds.`)
  })
}

/** `keyturn keys export KID [--jwk|--private]`. */
export async function exportKey(
  kid: string,
  { jwk, private: isPrivate }: { readonly jwk?: boolean; readonly private?: boolean }
): Promise<void> {
  await withKeys(async (options, _config, record) => {
    const key = openKey(await findKey(options, kid), options)
    if (jwk === true && isPrivate === true) throw new Refusal('A private key can only be exported as PEM: omit --jwk.')
    if (isPrivate === true) await record('key_export', operator, { object: kid })
    if (jwk === true) print(JSON.stringify(publicJwk(key)))
    else printLines((isPrivate === true ? key.privateText : key.publicText).trimEnd())
  })
}

/** `keyturn keys import [--algorithm NAME]`: prints the kid. */
export async function importKey({ algorithm }: { readonly algorithm: string }): Promise<void> {
  if (!Object.hasOwn(algorithms, algorithm))
    throw new Refusal(`${algorithm}: expected one of ${Object.keys(algorithms).join(', ')}.`)
  const config = loadManaged()
  const text = await readInput()
  await withKeys(async (options, _config, record) => {
    const key = readPrivateKey(text, algorithm as AlgorithmName)
    if ((await options.store.list()).some(({ kid }) => kid === key.kid))
      throw new Refusal(`The key ${JSON.stringify(key.kid)} is already in the keyring.`)
    if (!(await publishNext(options, key)))
      throw new Refusal('The keyring already has a next key. Remove it with keys retire, or wait until it is active.')
    await record('key_publish', operator, { object: key.kid })
    say('Published the key below; it signs once every verifier has had time to fetch it.')
    print(key.kid)
  }, config)
}

function readPrivateKey(text: string, algorithm: AlgorithmName) {
  try {
    return importPrivateKey(text, algorithm)
  } catch (error) {
    const message = (error as Error).message.replace('SIGNING_KEY: ', 'The key: ')
    throw new Refusal(message.replace('set ALGORITHM to', 'set --algorithm to'))
  }
}

/**
 * `keyturn keys reseal`: for use after KEY_ENCRYPTION_SECRET has changed, with the former value as its _PREVIOUS. An internal
 * key is stored even if SIGNING_KEY is set.
 */
export async function resealKeys(): Promise<void> {
  await withKeyring(loadConfig(process.env, checkSigningKey), async (options, record) => {
    const keys = await options.store.list()
    for (const key of keys) {
      await options.store.reseal(key, sealFor(options)(key, key.state))
    }
    await record('keys_reseal', operator)
    say(`Encrypted ${keys.length} keys with KEY_ENCRYPTION_SECRET; the previous secret is no longer needed.`)
  })
}

/** The configuration. Throws Refusal if SIGNING_KEY is set. */
function loadManaged(): Config {
  const config = loadConfig(process.env, checkSigningKey)
  if (config.signingKey !== undefined) throw new Refusal('SIGNING_KEY is set, so there are no managed keys.')
  return config
}

/** Opens the managed keys, generating the first ones if none exist. Throws Refusal if SIGNING_KEY is set. */
async function withKeys<T>(
  work: (options: KeyringOptions, config: Config, record: RecordAct) => Promise<T>,
  config = loadManaged()
): Promise<T> {
  return await withKeyring(config, (options, record) => work(options, config, record))
}

const withKeyring = <T>(config: Config, work: (options: KeyringOptions, record: RecordAct) => Promise<T>): Promise<T> =>
  withDatabase(config, async (database) => {
    const options = keyringOptions(config, database)
    await openKeyring(config, options)
    return await work(options, await openRecordAct(config, database))
  })

async function findKey({ store }: KeyringOptions, kid: string): Promise<StoredKey> {
  const key = accessKeys(await store.list()).find((each) => each.kid === kid)
  if (key === undefined) throw new Refusal(`The key ${JSON.stringify(kid)} does not exist. See keys list.`)
  return key
}

const accessKeys = (keys: readonly StoredKey[]): readonly StoredKey[] =>
  keys.filter(({ purpose }) => purpose === 'access')

const tableLine = (kid: string, algorithm: string, state: string, published: string, active: string, retired: string) =>
  `${kid.padEnd(8)}  ${algorithm.padEnd(9)}  ${state.padEnd(7)}  ${published.padEnd(20)}  ${active.padEnd(20)}  ${retired}`.trimEnd()

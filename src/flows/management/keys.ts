import { KeyturnError } from '../../errors.ts'
import { generateKey } from '../../keys/key.ts'
import { type KeyringOptions, publishNext, sealFor } from '../../keys/keyring.ts'
import type { RotationPolicy } from '../../keys/rotation.ts'
import type { StoredKey } from '../../keys/store.ts'
import type { Actor, RecordAct } from './act.ts'

export interface KeyParts {
  readonly keyring: KeyringOptions
  /** Whether SIGNING_KEY is set: then no key of the database signs. */
  readonly isFixed: boolean
  readonly rotation: Pick<RotationPolicy, 'publishAhead'>
  readonly record: RecordAct
}

/** The key that a rotation has published or activated, and the time from which it signs, in whole seconds since 1970. */
export interface RotatedKey {
  readonly key: StoredKey
  readonly signsFrom: number
}

/**
 * Manages the keys in the database that sign access tokens; with SIGNING_KEY there are none. Each method throws KeyturnError
 * STORE_DOWN.
 */
export const makeManageKeys = ({ keyring, isFixed, rotation, record }: KeyParts) => {
  const { store, clock } = keyring

  const list = async (): Promise<readonly StoredKey[]> =>
    (await store.list()).filter(({ purpose }) => purpose === 'access')

  /** The next key, generated if there is none; tries again if a worker has just activated the one that was published. */
  const findNext = async (by: Actor): Promise<StoredKey> => {
    const key = generateKey()
    if (await publishNext(keyring, key)) await record('key_publish', by, { object: key.kid })
    return (await list()).find(({ state }) => state === 'next') ?? (await findNext(by))
  }

  return {
    /** All keys but the internal one. */
    list: async (): Promise<readonly StoredKey[]> => (isFixed ? [] : await list()),

    /**
     * Publishes a new key, unless there is a next key already. It signs once every verifier has had time to fetch it. With
     * `isImmediate` it signs at once, and verifiers with a cached JWKS may refuse its tokens until they fetch the JWKS again.
     * Throws KeyturnError UNSUPPORTED_CHANGE with SIGNING_KEY.
     */
    async rotate(by: Actor, { isImmediate }: { readonly isImmediate: boolean }): Promise<RotatedKey> {
      if (isFixed) throw noManagedKeys()
      const key = await findNext(by)
      if (!isImmediate) return { key, signsFrom: key.createdAt + rotation.publishAhead }
      if (await store.activate(key.kid, clock(), sealFor(keyring)))
        await record('key_activate', by, { object: key.kid })
      return { key, signsFrom: clock() }
    }
  }
}

const noManagedKeys = (): KeyturnError =>
  new KeyturnError('UNSUPPORTED_CHANGE', { detail: 'SIGNING_KEY is set, so there are no managed keys.' })

import { showTime } from '../time.ts'
import type { AlgorithmName } from './algorithms.ts'

/** `access` signs access tokens and is published; `internal` never leaves Keyturn. */
export type KeyPurpose = 'access' | 'internal'

/**
 * `next` is published and does not sign yet; `active` signs; `retired` verifies until its last token has expired, and is
 * then dropped. Each purpose has at most one next and one active key.
 */
export type KeyState = 'next' | 'active' | 'retired'

/** A stored managed key. Times are whole seconds since 1970. */
export interface StoredKey {
  readonly kid: string
  readonly purpose: KeyPurpose
  readonly algorithm: AlgorithmName
  readonly state: KeyState
  /** The encrypted private key, bound to the four members above (keyring.ts). */
  readonly sealed: string
  readonly createdAt: number
  readonly activatedAt: number | undefined
  readonly retiredAt: number | undefined
}

/** A key with its names and times on the wire and in the output of commands; never its private half. */
export const showKey = ({ kid, algorithm, state, createdAt, activatedAt, retiredAt }: StoredKey) => ({
  kid,
  algorithm,
  state,
  published_at: showTime(createdAt),
  activated_at: activatedAt === undefined ? null : showTime(activatedAt),
  retired_at: retiredAt === undefined ? null : showTime(retiredAt)
})

/** Encrypts a key again for a new state, since the state is authenticated with it. */
export type SealFor = (key: StoredKey, state: KeyState) => string

/** Stores managed keys. Every method throws KeyturnError STORE_DOWN if the store is unreachable. */
export interface KeyStore {
  list(): Promise<readonly StoredKey[]>
  /**
   * Adds a next or active key unless its purpose has one in that state; one of several concurrent processes wins. This method
   * and those below return whether this call made the change.
   */
  addFirst(key: StoredKey): Promise<boolean>
  /** Makes the next key active and the active one retired; does nothing if `kid` is not a next key (any more). */
  activate(kid: string, now: number, sealFor: SealFor): Promise<boolean>
  /** Removes a key unless it is active. */
  drop(kid: string): Promise<boolean>
  /** Replaces the encrypted key, unless another process has replaced it meanwhile. */
  reseal(key: Pick<StoredKey, 'kid' | 'sealed'>, sealed: string): Promise<void>
}

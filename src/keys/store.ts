import type { AlgorithmName } from './algorithms.ts'

/** `access` signs access tokens and is published; `internal` is known to Keyturn alone and never leaves it. */
export type KeyPurpose = 'access' | 'internal'

/**
 * `next` is published and does not sign yet; `active` signs; `retired` verifies until its last token has expired, and is
 * then dropped. There is at most one next and one active key a purpose.
 */
export type KeyState = 'next' | 'active' | 'retired'

/** A managed key at rest. Times are whole seconds since 1970. */
export interface StoredKey {
  readonly kid: string
  readonly purpose: KeyPurpose
  readonly algorithm: AlgorithmName
  readonly state: KeyState
  /** The private text, sealed together with the four members above (keyring.ts). */
  readonly sealed: string
  readonly createdAt: number
  readonly activatedAt: number | undefined
  readonly retiredAt: number | undefined
}

/** Seals a key again for the state it changes to, since its state is sealed with it. */
export type SealFor = (key: StoredKey, state: KeyState) => string

/** Where managed keys are kept. Every method throws KeyturnError STORE_DOWN when the store cannot be reached. */
export interface KeyStore {
  list(): Promise<readonly StoredKey[]>
  /**
   * Adds a next or active key unless its purpose has one in that state: of several processes that try at once, one wins. Here
   * and below: whether this call has done it.
   */
  addFirst(key: StoredKey): Promise<boolean>
  /** Makes the next key the active one, and the active one retired; does nothing when `kid` is not a next key (any more). */
  activate(kid: string, now: number, sealFor: SealFor): Promise<boolean>
  /** Takes a key out, unless it is active. */
  drop(kid: string): Promise<boolean>
  /** Replaces what is sealed, unless another process has replaced it meanwhile. */
  reseal(key: Pick<StoredKey, 'kid' | 'sealed'>, sealed: string): Promise<void>
}

import type { AlgorithmName } from './algorithms.ts'

/** `access` signs access tokens and is published; `internal` is known to Keyturn alone and never leaves it. */
export type KeyPurpose = 'access' | 'internal'

/** A managed key at rest. */
export interface StoredKey {
  readonly kid: string
  readonly purpose: KeyPurpose
  readonly algorithm: AlgorithmName
  readonly state: 'next' | 'active' | 'retired'
  /** The private text, sealed under the kid's name (sealing.ts). */
  readonly sealed: string
  readonly createdAt: number
}

export interface KeyStore {
  list(): Promise<readonly StoredKey[]>
  /** Adds an active key unless its purpose has one already: of several processes that start at once, one wins. */
  addFirst(key: StoredKey): Promise<void>
}

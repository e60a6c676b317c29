import type { GivenUser } from './import.ts'
import type { Placing, PlacingOptions } from './placing.ts'
import type { User } from './user.ts'

/**
 * Stores users. Every method throws KeyturnError STORE_DOWN if the store is unreachable, and those that write UNSUPPORTED_CHANGE
 * if the table is another program's and cannot take the change.
 */
export interface UserStore {
  /** By the username as sent, and in NFKC. */
  findByUsername(username: string): Promise<User | undefined>
  findById(id: string): Promise<User | undefined>
  /** The new user; undefined if the username is taken. */
  create(username: string, passwordHash: string): Promise<User | undefined>
  /** The next four return whether a row was written, that is, whether the user exists. */
  setPassword(id: string, passwordHash: string): Promise<boolean>
  setActive(id: string, isActive: boolean): Promise<boolean>
  setClaims(id: string, claims: User['claims']): Promise<boolean>
  delete(id: string): Promise<boolean>
  /** Throws KeyturnError UNSUPPORTED_CHANGE where `delete` would: what precedes a deletion must not happen then. */
  demandDelete(): Promise<void>
  /** Changes the username. Throws KeyturnError UNSUPPORTED_CHANGE where tokens carry usernames. */
  rename(id: string, username: string): Promise<'renamed' | 'taken' | 'missing'>
  /**
   * Sets the digest if it is still `verified`, and returns whether it did: a password that was changed meanwhile, here or by
   * another program that writes to the table, is kept.
   */
  replacePasswordHash(id: string, verified: string, passwordHash: string): Promise<boolean>
  /**
   * Digests of a few adjacent users in the table: the same for the same `lot` (0 to below 1) while the users stay the same, and
   * all users over all lots. Empty if there are no users.
   */
  drawPasswordHashes(lot: number): Promise<readonly string[]>
  /** Sets the time of the user's last login to now. */
  recordLogin(id: string): Promise<void>
  /** At most `limit` users in the order of their usernames, after `afterUsername`, the last one of the previous page. */
  list(afterUsername: string, limit: number): Promise<readonly User[]>
}

/** Maximum number of users per batch. */
export const importBatch = 1000

/** Imports users into a store, batch by batch. */
export interface UserImport {
  /**
   * Imports at most `importBatch` users, all or none, and returns the outcome of each. Idempotent. Updated users who are inactive
   * or have another digest are then in the list of PendingLogouts. Throws KeyturnError STORE_DOWN if the store is unreachable.
   */
  place(users: readonly GivenUser[], options: Pick<PlacingOptions, 'update'>): Promise<readonly Placing[]>
}

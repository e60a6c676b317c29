import type { GivenUser } from './import.ts'
import type { Placing, PlacingOptions } from './placing.ts'
import type { User } from './user.ts'

/** Where users are kept. Every method throws KeyturnError STORE_DOWN when the store cannot be reached. */
export interface UserStore {
  /** By the name as it was sent: it is also looked up in NFKC. */
  findByUsername(username: string): Promise<User | undefined>
  findById(id: string): Promise<User | undefined>
  /** The new user; undefined when the username is taken. */
  create(username: string, passwordHash: string): Promise<User | undefined>
  /** These four return whether there was such a user: a row that was written. */
  setPassword(id: string, passwordHash: string): Promise<boolean>
  setActive(id: string, isActive: boolean): Promise<boolean>
  setClaims(id: string, claims: User['claims']): Promise<boolean>
  delete(id: string): Promise<boolean>
  /**
   * Sets the digest if it is still `verified`, and says whether it did: a password that was changed meanwhile, here or by
   * another program that writes to the table, stays.
   */
  replacePasswordHash(id: string, verified: string, passwordHash: string): Promise<boolean>
  /**
   * Digests of a few users who are neighbours in the table: the same ones for the same `lot`, 0 to below 1, as long as users
   * stay, and all users over all lots. Empty when there are no users.
   */
  drawPasswordHashes(lot: number): Promise<readonly string[]>
  /** Dates the user's last login: now. */
  recordLogin(id: string): Promise<void>
  /** By username, in pages: those after `afterUsername`, as the last one of the page before is called, at most `limit`. */
  list(afterUsername: string, limit: number): Promise<readonly User[]>
}

/** How many users a UserImport takes at once. */
export const importBatch = 1000

/** Takes the users of a dump into a store, batch by batch. */
export interface UserImport {
  /**
   * Takes at most `importBatch` users in, all of them or none, and tells what became of each. To do it again changes nothing.
   * Throws KeyturnError STORE_DOWN when the store cannot be reached.
   */
  place(users: readonly GivenUser[], options: Pick<PlacingOptions, 'update'>): Promise<readonly Placing[]>
}

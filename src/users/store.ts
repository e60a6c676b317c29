import type { User } from './user.ts'

/** Where users are kept. Every method throws KeyturnError STORE_DOWN when the store cannot be reached. */
export interface UserStore {
  /** By the name as it was typed: it is normalised here. */
  findByUsername(username: string): Promise<User | undefined>
  findById(id: string): Promise<User | undefined>
  /** The new user; undefined when the username is taken. */
  create(username: string, passwordHash: string): Promise<User | undefined>
  setPassword(id: string, passwordHash: string): Promise<void>
  /**
   * Sets the digest if it is still `verified`, and says whether it did: a password that was changed meanwhile, here or by
   * another program that writes to the table, stays.
   */
  replacePasswordHash(id: string, verified: string, passwordHash: string): Promise<boolean>
  /**
   * Digests of a few users who are neighbours in the table: the same ones for the same `lot`, 0 to below 1, as long as users
   * stay, and all users over all lots. None when there is nobody.
   */
  drawPasswordHashes(lot: number): Promise<readonly string[]>
  setActive(id: string, isActive: boolean): Promise<void>
  /** Dates the user's last login: now. */
  recordLogin(id: string): Promise<void>
  setClaims(id: string, claims: User['claims']): Promise<void>
  delete(id: string): Promise<void>
  /** By username, in pages: those after `afterUsername`, at most `limit`. */
  list(afterUsername: string, limit: number): Promise<readonly User[]>
}

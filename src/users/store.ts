import type { User } from './user.ts'

/** Where users are kept. Every method throws KeyturnError STORE_DOWN when the store cannot be reached. */
export interface UserStore {
  /** By the name as it was typed: it is normalised here. */
  findByUsername(username: string): Promise<User | undefined>
  findById(id: string): Promise<User | undefined>
  /** The new user; undefined when the username is taken. */
  create(username: string, passwordHash: string): Promise<User | undefined>
  setPassword(id: string, passwordHash: string): Promise<void>
  setActive(id: string, isActive: boolean): Promise<void>
  setClaims(id: string, claims: User['claims']): Promise<void>
  delete(id: string): Promise<void>
  /** By username, in pages: those after `afterUsername`, at most `limit`. */
  list(afterUsername: string, limit: number): Promise<readonly User[]>
}

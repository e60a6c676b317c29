import { passwordFingerprint } from '../passwords/fingerprint.ts'
import type { Clock } from '../time.ts'
import type { UserStore } from './store.ts'
import type { User } from './user.ts'

/** The cached part of a user. Of the password only the fingerprint that tokens may contain, never the digest. */
export interface RecentUser extends Pick<User, 'id' | 'username' | 'isActive'> {
  readonly passwordFingerprint: string
}

/** A user as the store has it now. */
export interface CurrentUser extends RecentUser {
  readonly stored: User
}

/** Users as they were a few seconds ago, for endpoints that are called many times a second for the same user. */
export interface RecentUsers<Found extends RecentUser = RecentUser> {
  /**
   * A user cached with another password than that of `fingerprint` is looked up again: the token with the fingerprint may be
   * newer than the cache. Throws KeyturnError STORE_DOWN if the store is unreachable and the user is not cached.
   */
  findById(id: string, fingerprint?: unknown): Promise<Found | undefined>
}

const describe = ({ id, username, isActive, passwordHash }: User): RecentUser => ({
  id,
  username,
  isActive,
  passwordFingerprint: passwordFingerprint(passwordHash)
})

/** The same for the current state of users: for endpoints that change something. */
export const makeCurrentUsers = (store: Pick<UserStore, 'findById'>): RecentUsers<CurrentUser> => ({
  async findById(id) {
    const stored = await store.findById(id)
    return stored && { ...describe(stored), stored }
  }
})

/** Maximum age of a cached user, in whole seconds: for so long, a user deactivated in the table is still accepted. */
const fresh = 5

/** Maximum number of cached users; the oldest entry is evicted first. Each takes a few hundred bytes. */
const maxUsers = 10_000

/**
 * Caches the users of `store`, and which users do not exist. While the store is unreachable, cached users stay valid: an access
 * token soon expires, and no user can get a new one.
 */
export function makeRecentUsers(store: Pick<UserStore, 'findById'>, clock: Clock): RecentUsers {
  const seen = new Map<string, { readonly at: number; readonly user: RecentUser | undefined }>()
  const looking = new Map<string, Promise<RecentUser | undefined>>()

  const remember = (id: string, user: RecentUser | undefined): RecentUser | undefined => {
    if (!seen.has(id) && seen.size >= maxUsers) seen.delete(seen.keys().next().value ?? '')
    seen.set(id, { at: clock(), user })
    return user
  }
  const look = async (id: string): Promise<RecentUser | undefined> => {
    try {
      const user = await store.findById(id)
      return remember(id, user && describe(user))
    } catch (error) {
      const last = seen.get(id)
      if (last === undefined) throw error
      // Not queried again before the entry would have expired: a server that does not respond costs seconds.
      return remember(id, last.user)
    }
  }
  return {
    async findById(id, fingerprint) {
      const last = seen.get(id)
      const isOther = fingerprint !== undefined && (last?.user?.passwordFingerprint ?? fingerprint) !== fingerprint
      if (isOther) return await look(id)
      const age = last === undefined ? fresh : clock() - last.at
      // A negative age means that the clock was set back: the age is unknown.
      if (age >= 0 && age < fresh) return last?.user
      const answer = looking.get(id) ?? look(id).finally(() => looking.delete(id))
      looking.set(id, answer)
      return await answer
    }
  }
}

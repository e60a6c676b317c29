import { passwordFingerprint } from '../passwords/fingerprint.ts'
import type { Clock } from '../time.ts'
import type { UserStore } from './store.ts'
import type { User } from './user.ts'

/** What is kept of a user. Of the password only what tokens may tell of it, never the hash. */
export interface RecentUser extends Pick<User, 'id' | 'username' | 'isActive'> {
  readonly passwordFingerprint: string
}

/** Users as they were a few seconds ago, for endpoints that a user calls many times a second. */
export interface RecentUsers {
  /**
   * One who is remembered under another password than that of `fingerprint` is looked up anew: the token that bears it may
   * be younger than what is remembered. Throws KeyturnError STORE_DOWN when the store cannot be reached and the user was
   * not seen before.
   */
  findById(id: string, fingerprint?: unknown): Promise<RecentUser | undefined>
}

const describe = ({ id, username, isActive, passwordHash }: User): RecentUser => ({
  id,
  username,
  isActive,
  passwordFingerprint: passwordFingerprint(passwordHash)
})

/** The same for the current state of users: for endpoints that change something. */
export const makeCurrentUsers = (store: Pick<UserStore, 'findById'>): RecentUsers => ({
  async findById(id) {
    const user = await store.findById(id)
    return user && describe(user)
  }
})

/** How old a user may be, in whole seconds: for so long one who was deactivated in the table is still let in. */
const fresh = 5

/** Users kept at most; the one looked up first is forgotten first. Each takes a few hundred bytes. */
const most = 10_000

/**
 * Remembers the users of `store`, and those it does not have. While the store cannot be reached a user stays as last
 * seen: who shows an access token has logged in or refreshed since the outage began, or has one that soon expires.
 */
export function makeRecentUsers(store: Pick<UserStore, 'findById'>, clock: Clock): RecentUsers {
  const seen = new Map<string, { readonly at: number; readonly user: RecentUser | undefined }>()
  const looking = new Map<string, Promise<RecentUser | undefined>>()

  const remember = (id: string, user: RecentUser | undefined): RecentUser | undefined => {
    if (!seen.has(id) && seen.size >= most) seen.delete(seen.keys().next().value ?? '')
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
      // Not asked for again before it would have been anyway: a server that says nothing costs seconds.
      return remember(id, last.user)
    }
  }
  return {
    async findById(id, fingerprint) {
      const last = seen.get(id)
      const isOther = fingerprint !== undefined && (last?.user?.passwordFingerprint ?? fingerprint) !== fingerprint
      if (isOther) return await look(id)
      const age = last === undefined ? fresh : clock() - last.at
      // Below 0 the clock was set back, and the age is unknown.
      if (age >= 0 && age < fresh) return last?.user
      const answer = looking.get(id) ?? look(id).finally(() => looking.delete(id))
      looking.set(id, answer)
      return await answer
    }
  }
}

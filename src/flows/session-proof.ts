import { KeyturnError } from '../errors.ts'
import { type Claims, checkClaims } from '../tokens/claims.ts'
import { foldUsername } from './guessing.ts'
import type { Parts } from './parts.ts'

/**
 * The session that `token`, of any kind, belongs to, if it has not ended and is one of the user called `username`; otherwise
 * undefined, because a login needs no token and an invalid one does not refuse it. Throws KeyturnError STORE_DOWN.
 *
 * `username` is not looked up, only compared: the token names the user, so the time it takes reveals nothing about other users.
 */
export const makeProveSession = ({
  codec,
  rules,
  clock,
  sessions,
  users
}: Pick<Parts, 'codec' | 'rules' | 'clock' | 'sessions' | 'users'>) => {
  const read = (token: string): Claims | undefined => {
    try {
      return checkClaims(codec.read(token), clock(), rules)
    } catch (error) {
      if (error instanceof KeyturnError && error.status === 401) return undefined
      throw error
    }
  }
  return async (token: string | undefined, username: string): Promise<string | undefined> => {
    const { user_id: userId, sid } = (token !== undefined && read(token)) || {}
    if (userId === undefined || sid === undefined) return undefined
    const [session, user] = await Promise.all([sessions.find(userId, sid), users.findById(userId)])
    const isTheirs = user !== undefined && foldUsername(user.username) === foldUsername(username)
    return session !== undefined && isTheirs ? sid : undefined
  }
}

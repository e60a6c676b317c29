import { KeyturnError } from '../errors.ts'
import { type Claims, checkClaims } from '../tokens/claims.ts'
import { foldUsername } from './guessing.ts'
import type { Parts } from './parts.ts'

/**
 * The session of the user called `username` that `token` shows, of whichever kind: one that has not ended. Undefined
 * when it shows none: a login needs no token, so a bad one is no fault of it. Throws KeyturnError STORE_DOWN.
 *
 * Nothing is asked about `username`: the token says whom to look up, so the time it takes tells nothing of anybody
 * else.
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

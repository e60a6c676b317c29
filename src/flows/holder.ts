import { KeyturnError } from '../errors.ts'
import { isUnderPassword } from '../tokens/claims.ts'
import type { PresentedToken } from '../tokens/refresh.ts'
import type { User } from '../users/user.ts'
import type { Parts } from './parts.ts'

/**
 * The user who may go on with a refreshed token; otherwise why nobody may: USER_GONE when the user is deleted or may not log in,
 * PASSWORD_CHANGED when the token was made under another password. That one's session is over then, as Simple JWT blacklists
 * such a token on the way: a second time it is TOKEN_REVOKED.
 */
export const makeFindHolder =
  ({ users, sessions, hooks, rules }: Parts) =>
  async ({ userId, sid, claims, foreign }: PresentedToken): Promise<{ user: User } | { refusal: KeyturnError }> => {
    const user = await users.findById(userId)
    if (user === undefined || !(await hooks.mayAuthenticate(user))) return { refusal: new KeyturnError('USER_GONE') }
    // Another issuer may not say under which password it made the token; what it is exchanged for does.
    const isUnbound = foreign !== undefined && claims.hash_password === undefined
    if (isUnbound || isUnderPassword(claims, user, rules)) return { user }
    const hasEnded = await sessions.revoke(userId, sid)
    // One of another issuer may not have become a session yet.
    const isFirst = hasEnded || foreign !== undefined
    return { refusal: new KeyturnError(isFirst ? 'PASSWORD_CHANGED' : 'TOKEN_REVOKED') }
  }

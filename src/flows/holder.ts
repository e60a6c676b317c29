import { KeyturnError } from '../errors.ts'
import { passwordFingerprint } from '../passwords/fingerprint.ts'
import { isUnderPassword } from '../tokens/claims.ts'
import type { PresentedToken } from '../tokens/refresh.ts'
import type { User } from '../users/user.ts'
import type { Parts } from './parts.ts'

export type Holder = { readonly user: User } | { readonly refusal: KeyturnError }

/**
 * The user who may go on with a token that is refreshed; otherwise why nobody may: USER_GONE when the user is deleted or may not
 * log in, PASSWORD_CHANGED when the token was made under another password. Changes nothing.
 */
export const makeLookUpHolder =
  ({ users, hooks, rules }: Pick<Parts, 'users' | 'hooks' | 'rules'>) =>
  async ({ userId, claims, foreign }: Omit<PresentedToken, 'sid' | 'generation'>): Promise<Holder> => {
    const user = await users.findById(userId)
    if (user === undefined || !(await hooks.mayAuthenticate(user))) return { refusal: new KeyturnError('USER_GONE') }
    // Another issuer may not say under which password it made the token; what it is exchanged for does.
    const isUnbound = !rules.bindsPassword || (foreign !== undefined && claims.hash_password === undefined)
    if (isUnbound || isUnderPassword(claims, passwordFingerprint(user.passwordHash), rules)) return { user }
    return { refusal: new KeyturnError('PASSWORD_CHANGED') }
  }

/**
 * The same when the token is refreshed. The session of one that was made under another password is over then, as Simple JWT
 * blacklists such a token on the way: a second time it is TOKEN_REVOKED.
 */
export const makeFindHolder = (parts: Parts) => {
  const lookUp = makeLookUpHolder(parts)
  return async (presented: PresentedToken): Promise<Holder> => {
    const holder = await lookUp(presented)
    if ('user' in holder || holder.refusal.code !== 'PASSWORD_CHANGED') return holder
    const hasEnded = await parts.sessions.revoke(presented.userId, presented.sid)
    // One of another issuer may not have become a session yet.
    const isFirst = hasEnded || presented.foreign !== undefined
    return isFirst ? holder : { refusal: new KeyturnError('TOKEN_REVOKED') }
  }
}

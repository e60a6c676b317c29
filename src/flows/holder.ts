import { KeyturnError } from '../errors.ts'
import { passwordFingerprint } from '../passwords/fingerprint.ts'
import { isUnderPassword } from '../tokens/claims.ts'
import type { PresentedToken } from '../tokens/refresh.ts'
import type { CustomClaims } from '../tokens/claims.ts'
import { isUnchanged, type User } from '../users/user.ts'
import type { Parts } from './parts.ts'

export type Holder = { readonly user: User } | { readonly refusal: KeyturnError }

/** Who a refresh is for, and what the hooks add to the tokens. */
export type Refresher = { readonly user: User; readonly custom: CustomClaims } | { readonly refusal: KeyturnError }

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
 * The same when the token is refreshed, with the custom claims of the next tokens. The session of a token that was made under
 * another password is over then, as Simple JWT blacklists such a token on the way: a second time it is TOKEN_REVOKED.
 *
 * Keyturn's own changes of a user end the sessions, which the rotation sees. A change made by another program that writes to the
 * table does not, so after hooks, which take up to seconds, the user is read again.
 */
export const makeFindRefresher = (parts: Parts) => {
  const { users, sessions, hooks } = parts
  const lookUp = makeLookUpHolder(parts)
  return async function findRefresher(presented: PresentedToken): Promise<Refresher> {
    const { userId, sid } = presented
    const holder = await lookUp(presented)
    if ('refusal' in holder) {
      if (holder.refusal.code !== 'PASSWORD_CHANGED') return holder
      const hasEnded = await sessions.revoke(userId, sid)
      // One of another issuer may not have become a session yet.
      const isFirst = hasEnded || presented.foreign !== undefined
      return isFirst ? holder : { refusal: new KeyturnError('TOKEN_REVOKED') }
    }
    const { user } = holder
    const custom = await hooks.claims(user, { grant: 'refresh', sid })
    if (!hooks.delayRefresh || isUnchanged(user, await users.findById(userId))) return { user, custom }
    return await findRefresher(presented)
  }
}

import { type OneTimeToken, userState } from '../one-time-tokens/token.ts'
import type { User } from '../users/user.ts'
import { hasAuthorityOver, type UserLookup } from './management/act.ts'

/**
 * The user of a stored one-time token, if the token is still valid: the facts that it was issued under have not changed, and
 * its issuer, who may have kept a copy, could still issue it. A hook may have begun to give the user a management scope that
 * the issuer lacks. Throws KeyturnError CLAIMS_FAILED and STORE_DOWN.
 */
export async function findTokenOwner(
  { users, scopesByHook }: UserLookup,
  { userId, userState: state, issuerScopes: scopes }: OneTimeToken
): Promise<User | undefined> {
  const user = await users.findById(userId)
  if (user === undefined || userState(user) !== state) return undefined
  return (await hasAuthorityOver({ scopes }, user, scopesByHook)) ? user : undefined
}

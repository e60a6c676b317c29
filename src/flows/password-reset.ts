import { KeyturnError } from '../errors.ts'
import { hashOneTimeToken, type OneTimePurpose } from '../one-time-tokens/token.ts'
import type { User } from '../users/user.ts'
import type { ScopesByHook } from './management/act.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import { demandAllowedPassword, type PasswordSender, sessionsKept } from './password.ts'
import { findTokenOwner } from './token-owner.ts'

export interface PasswordReset {
  readonly token: string
  readonly wanted: string
}

/**
 * Sets the password of the user to whom a one-time token was sent, and ends all of the user's sessions. Of any number of
 * requests with one token, one succeeds. Throws KeyturnError ONE_TIME_TOKEN_INVALID, FIELDS_INVALID for a password that the policy
 * refuses, BUSY when too many logins wait for a hash, CLAIMS_FAILED, and STORE_DOWN.
 *
 * The token is taken last, and given back if the password cannot be set: neither a weak password, nor a full queue, nor a store
 * that is down costs the user the token.
 * That is why sessions end twice. Ending them before the change shows that the store works; afterwards it ends the session of a
 * login that read the old digest meanwhile (flows/login.ts).
 */
export const makeResetPassword = (
  { users, usersWith, oneTimeTokens, hasher, sessions, passwordPolicy, clock }: Parts,
  { scopesByHook }: { readonly scopesByHook: ScopesByHook | undefined }
) => {
  /** The user whose password the token with this hash may set. Changes nothing. Throws KeyturnError ONE_TIME_TOKEN_INVALID. */
  const getOwner = async (hash: string): Promise<{ readonly user: User; readonly purpose: OneTimePurpose }> => {
    const stored = await oneTimeTokens.find(hash)
    // A token for an invitation sets the first password.
    const isForPassword = stored !== undefined && stored.purpose !== 'verify'
    const user = isForPassword ? await findTokenOwner({ users, scopesByHook }, stored) : undefined
    if (!isForPassword || user === undefined)
      throw new KeyturnError('ONE_TIME_TOKEN_INVALID', { userId: stored?.userId })
    return { user, purpose: stored.purpose }
  }

  return async ({ token, wanted }: PasswordReset, { ip, signal, requestId }: PasswordSender): Promise<Outcome> => {
    const hash = hashOneTimeToken(token)
    const { user } = await getOwner(hash)
    const { id: userId } = user
    await demandAllowedPassword(wanted, user.username, passwordPolicy)
    const digest = await hasher.hash(wanted, signal)
    await sessions.revokeAll(userId)
    // Hashing takes long: the user may have become an administrator, for whom the token must not be used.
    const { purpose } = await getOwner(hash)
    const taken = await oneTimeTokens.take(hash, purpose)
    if (taken === undefined) throw new KeyturnError('ONE_TIME_TOKEN_INVALID', { userId })
    const entry = { event: 'password_reset', result: 'ok', at: clock(), userId, ip, requestId } as const
    // Only over the digest that the token was issued under, so that no other change of the password is lost.
    const isSet = await usersWith(entry)
      .replacePasswordHash(userId, user.passwordHash, digest)
      .catch(async (error: unknown) => {
        await oneTimeTokens.put(taken).catch(() => {})
        throw error
      })
    if (!isSet) throw new KeyturnError('ONE_TIME_TOKEN_INVALID', { userId })
    await sessions.revokeAll(userId).catch(sessionsKept({ userId }))
    return { user_id: userId }
  }
}

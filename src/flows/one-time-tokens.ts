import { KeyturnError } from '../errors.ts'
import { hashOneTimeToken, makeOneTimeToken, type OneTimePurpose, userState } from '../one-time-tokens/token.ts'
import type { User } from '../users/user.ts'
import type { Parts } from './parts.ts'

/** A one-time token as its issuer gets it, once. */
export interface IssuedOneTimeToken {
  readonly token: string
  readonly userId: string
  /** Whole seconds since 1970. */
  readonly expiresAt: number
}

type OneTimeParts = Pick<Parts, 'users' | 'oneTimeTokens' | 'clock'>

/** One-time tokens for other services, which send and redeem them. Each method throws KeyturnError STORE_DOWN. */
export const makeOneTimeTokens = ({ users, oneTimeTokens, clock }: OneTimeParts) => ({
  /**
   * Issues a token in place of the user's former one of the same purpose. `lifetime` is in whole seconds, at most
   * maxOneTimeLifetime. The user may be inactive, or without a password. Throws KeyturnError NOT_FOUND without such a user.
   */
  async issue(userId: string, purpose: OneTimePurpose, lifetime?: number): Promise<IssuedOneTimeToken> {
    const user = await users.findById(userId)
    if (user === undefined) throw new KeyturnError('NOT_FOUND')
    const { token, stored } = makeOneTimeToken(user, purpose, { lifetime, now: clock() })
    await oneTimeTokens.put(stored)
    return { token, userId, expiresAt: stored.expiresAt }
  },

  /** Redeems a token: returns whose it is, once. Throws KeyturnError ONE_TIME_TOKEN_INVALID. */
  async redeem(token: string, purpose: OneTimePurpose): Promise<{ readonly userId: string }> {
    // The user is read after the token was taken, so a change in between is seen.
    const stored = await oneTimeTokens.take(hashOneTimeToken(token), purpose)
    const user = stored && (await users.findById(stored.userId))
    if (user === undefined || userState(user) !== stored?.userState) throw new KeyturnError('ONE_TIME_TOKEN_INVALID')
    return { userId: user.id }
  },

  /** Revokes all tokens of the user. */
  revokeAll: (userId: string): Promise<void> => oneTimeTokens.deleteOf(userId)
})

/**
 * The user whose password a token may set: one for a password reset, or the invitation of a user who has none yet. Undefined if
 * the token is unknown, expired or revoked. Changes nothing.
 */
export async function findPasswordOwner(
  { users, oneTimeTokens }: Pick<Parts, 'users' | 'oneTimeTokens'>,
  hash: string
): Promise<{ readonly user: User; readonly purpose: OneTimePurpose } | undefined> {
  const stored = await oneTimeTokens.find(hash)
  if (stored === undefined || stored.purpose === 'verify') return undefined
  const user = await users.findById(stored.userId)
  return user !== undefined && userState(user) === stored.userState ? { user, purpose: stored.purpose } : undefined
}

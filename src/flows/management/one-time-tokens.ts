import { KeyturnError } from '../../errors.ts'
import type { OneTimeTokenStore } from '../../one-time-tokens/store.ts'
import { hashOneTimeToken, makeOneTimeToken, type OneTimePurpose } from '../../one-time-tokens/token.ts'
import type { Clock } from '../../time.ts'
import { findTokenOwner } from '../token-owner.ts'
import { type Actor, getUserForAct, managementScopes, type RecordAct, type UserLookup } from './act.ts'

export interface OneTimeTokenParts extends UserLookup {
  readonly oneTimeTokens: OneTimeTokenStore
  readonly record: RecordAct
  readonly clock: Clock
}

export interface IssueOptions {
  readonly purpose: OneTimePurpose
  /** Whole seconds, at most maxOneTimeLifetime; by default according to the purpose. */
  readonly lifetime?: number | undefined
}

/** Issues and redeems one-time tokens, which another service sends to users. Each method throws KeyturnError STORE_DOWN. */
export const makeManageOneTimeTokens = ({ oneTimeTokens, record, clock, ...lookup }: OneTimeTokenParts) => ({
  /**
   * Issues a token in place of the user's former one of the same purpose; `expiresAt` is in whole seconds since 1970. The user may
   * be inactive, or without a password. Throws KeyturnError NOT_FOUND, and SCOPE_MISSING for a user with more management scopes
   * than the actor, who could otherwise set that user's password.
   */
  async issue(
    by: Actor,
    userId: string,
    { purpose, lifetime }: IssueOptions
  ): Promise<{ readonly token: string; readonly expiresAt: number }> {
    const user = await getUserForAct(lookup, by, userId)
    const issuerScopes = by.scopes && managementScopes.filter((scope) => by.scopes?.includes(scope))
    const { token, stored } = makeOneTimeToken(user, purpose, { lifetime, issuerScopes, now: clock() })
    await oneTimeTokens.put(stored)
    await record('one_time_token', by, { userId, object: purpose })
    return { token, expiresAt: stored.expiresAt }
  },

  /**
   * Redeems a token: returns whose it is, once. Throws KeyturnError ONE_TIME_TOKEN_INVALID, and CLAIMS_FAILED, after which the
   * token is used up.
   */
  async redeem(by: Actor, token: string, purpose: OneTimePurpose): Promise<{ readonly userId: string }> {
    // The user is read after the token was taken, so a change in between is seen.
    const stored = await oneTimeTokens.take(hashOneTimeToken(token), purpose)
    const user = stored && (await findTokenOwner(lookup, stored))
    if (user === undefined) throw new KeyturnError('ONE_TIME_TOKEN_INVALID')
    await record('one_time_token_redeem', by, { userId: user.id, object: purpose })
    return { userId: user.id }
  }
})

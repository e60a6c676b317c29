import type { OneTimePurpose, OneTimeToken } from './token.ts'

/**
 * Stores one-time tokens: at most one for each user and purpose. An expired token counts as missing. Every method throws
 * KeyturnError STORE_DOWN if the store is unreachable.
 */
export interface OneTimeTokenStore {
  /** Stores a token in place of the user's former one of the same purpose, and deletes a few tokens that have expired. */
  put(token: OneTimeToken): Promise<void>
  /** The token with this hash. Changes nothing. */
  find(hash: string): Promise<OneTimeToken | undefined>
  /** Deletes and returns the token with this hash and purpose: one of any number of concurrent callers gets it. */
  take(hash: string, purpose: OneTimePurpose): Promise<OneTimeToken | undefined>
  /** Deletes all tokens of the user. */
  deleteOf(userId: string): Promise<void>
}

/**
 * How many expired tokens `put` deletes at most. More than one, so that none stay while new ones are issued; few, so that issuing
 * one is always cheap.
 */
export const maxExpiredPerPut = 10

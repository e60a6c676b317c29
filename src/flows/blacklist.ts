import { KeyturnError } from '../errors.ts'
import type { SessionClient } from '../sessions/session.ts'
import type { PresentedToken } from '../tokens/refresh.ts'
import { makeAdopt } from './adopt.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/**
 * Ends the session of a refresh token, or of a sliding one with SLIDING_TOKENS: a logout. As Simple JWT's TokenBlacklistView; the user may be inactive or gone.
 * A superseded token of the session ends it too, so that a client which lost an answer can still log out.
 * Throws KeyturnError TOKEN_* for a token that is not good, TOKEN_REVOKED when the session is over already.
 */
export const makeBlacklist = ({ refresh, sliding, slidingTokens, ...parts }: Parts) => {
  const { sessions } = parts
  const adopt = makeAdopt(parts)
  return async (token: string, client: SessionClient): Promise<Outcome> => {
    const presented = read(token)
    const { userId, sid } = presented
    // One of another issuer becomes a session, so that it can be over.
    await adopt(presented, client)
    if (!(await sessions.revoke(userId, sid))) throw new KeyturnError('TOKEN_REVOKED')
    return { user_id: userId, sid }

    // Simple JWT's door takes no sliding token, so that their bearers cannot log out at all.
    function read(token: string): PresentedToken {
      try {
        return refresh.read(token)
      } catch (error) {
        const isOther = error instanceof KeyturnError && error.code === 'TOKEN_WRONG_TYPE'
        if (isOther && slidingTokens) return sliding.read(token)
        throw error
      }
    }
  }
}

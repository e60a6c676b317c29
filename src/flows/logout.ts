import type { SessionDevice } from '../hooks.ts'
import type { Client } from '../clients/client.ts'
import { KeyturnError } from '../errors.ts'
import { checkClaims } from '../tokens/claims.ts'
import type { PresentedToken } from '../tokens/adopted.ts'
import type { Adopt } from './adopt.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import type { Parts } from './parts.ts'
import { unlessRefused } from './verify.ts'

/**
 * Ends a session by one of its tokens, or revokes a single token. A token of another issuer first becomes a session, so that it
 * can end. That session ends no other one, although the user may have as many as are allowed.
 */
export const makeLogout = (parts: Parts, { adopt }: { adopt: Adopt }) => {
  const { codec, refresh, sliding, slidingTokens, sessions, rules, clock, revocationWindow } = parts

  // Simple JWT accepts no sliding token here, so users with sliding tokens cannot log out at all.
  const read = (token: string): PresentedToken => {
    try {
      return refresh.read(token)
    } catch (error) {
      const isOther = error instanceof KeyturnError && error.code === 'TOKEN_WRONG_TYPE'
      if (isOther && slidingTokens) return sliding.read(token)
      throw error
    }
  }

  return {
    /**
     * Ends the session of a refresh token, or of a sliding one with SLIDING_TOKENS: a logout. As Simple JWT's TokenBlacklistView;
     * the user may be inactive or deleted. A superseded token of the session ends it too, so that a client which lost an answer
     * can still log out. Throws KeyturnError TOKEN_* for an invalid token, TOKEN_REVOKED when the session has already ended.
     */
    async blacklist(token: string, device: SessionDevice): Promise<Outcome> {
      const presented = read(token)
      const { userId, sid } = presented
      await adopt(presented, device, { endsOthers: false })
      if (!(await sessions.revoke(userId, sid))) throw new KeyturnError('TOKEN_REVOKED', { userId, sid })
      return { user_id: userId, sid }
    },

    /**
     * Revokes a token for a client (RFC 7009): a refresh or a sliding token with its whole session, an access token alone. A
     * token that is invalid needs no revoking, which is a verdict and not an error (§2.2).
     *
     * §2.1 requires that the token was issued to the client. Users' tokens are not issued to clients: a refresh token can end
     * its session at /api/token/blacklist/, and an access token at /api/sessions/, so this endpoint gives a client that holds
     * one no further powers. Throws KeyturnError CLIENT_OTHER for another client's own token, REVOCATION_UNSUPPORTED for a
     * token that could outlive its revocation, and STORE_DOWN.
     */
    async revoke(client: Client, token: string, device: SessionDevice): Promise<Outcome> {
      const presented =
        (await unlessRefused(() => refresh.read(token))) ?? (await unlessRefused(() => sliding.read(token)))
      if (presented !== undefined) {
        const { userId, sid } = presented
        // Unless its issuer has revoked it.
        await unlessRefused(() => adopt(presented, device, { endsOthers: false }))
        return { user_id: userId, sid, ...((await sessions.revoke(userId, sid)) ? {} : { verdict: 'ended' }) }
      }
      const claims = await unlessRefused(() => checkClaims(codec.read(token), clock(), rules))
      if (claims === undefined) return { verdict: 'unknown' }
      if (claims.client_id !== undefined && claims.client_id !== client.id) throw new KeyturnError('CLIENT_OTHER')
      const { jti = '', exp } = claims
      if (!/^[0-9a-f]{32}$/.test(jti) || exp > clock() + revocationWindow)
        throw new KeyturnError('REVOCATION_UNSUPPORTED')
      await sessions.revokeToken(jti)
      return outcomeOf(claims)
    }
  }
}

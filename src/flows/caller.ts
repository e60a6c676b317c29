import { KeyturnError } from '../errors.ts'
import { checkClaims, demandType, isUnderPassword } from '../tokens/claims.ts'
import type { Parts } from './parts.ts'

/** Whoever sent a request, by its access token. */
export interface Caller {
  readonly userId: string
  /** The session of the access token; undefined for a token that is not Keyturn's own. */
  readonly sid: string | undefined
}

/**
 * Who an access token speaks for. As Simple JWT's JWTAuthentication. Throws KeyturnError BEARER_INVALID for a token that is no
 * good access token, BEARER_NO_USER for one without a user, BEARER_USER_GONE, BEARER_USER_INACTIVE and BEARER_PASSWORD_CHANGED
 * after asking for that one.
 */
export const makeAuthenticate =
  ({ codec, users, revocations, rules, clock, checkUserIsActive }: Parts) =>
  async (token: string): Promise<Caller> => {
    const claims = readAccess(token)
    if (claims.user_id === undefined) throw new KeyturnError('BEARER_NO_USER')
    const user = await users.findById(claims.user_id)
    if (user === undefined) throw new KeyturnError('BEARER_USER_GONE')
    if (checkUserIsActive && !user.isActive) throw new KeyturnError('BEARER_USER_INACTIVE')
    if (!isUnderPassword(claims, user, rules)) throw new KeyturnError('BEARER_PASSWORD_CHANGED')
    return { userId: user.id, sid: claims.sid }

    function readAccess(token: string) {
      try {
        const claims = checkClaims(codec.read(token), clock(), rules)
        demandType(claims, 'access', rules)
        if (revocations.has(claims.sid, claims.jti)) throw new KeyturnError('TOKEN_REVOKED')
        return claims
      } catch (error) {
        if (!(error instanceof KeyturnError) || error.status !== 401) throw error
        const { detail: message } = error.body as { detail: string }
        const messages = [{ token_class: 'AccessToken', token_type: 'access', message }]
        throw new KeyturnError('BEARER_INVALID', { cause: error, more: { messages } })
      }
    }
  }

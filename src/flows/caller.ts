import { parseScope } from '../clients/scope.ts'
import { KeyturnError } from '../errors.ts'
import { checkClaims, demandType } from '../tokens/claims.ts'
import type { RecentUsers } from '../users/recent.ts'
import type { Parts } from './parts.ts'

/** Whoever sent a request, by its access token. */
export interface Caller {
  readonly userId: string
  /** The session of the access token; undefined for a token that is not Keyturn's own. */
  readonly sid: string | undefined
  readonly username: string
  /** What the token may be used for: none when it does not say, or says what is no scope. */
  readonly scopes: readonly string[]
  /** The end of the token, in whole seconds since 1970. */
  readonly expiresAt: number
}

type CallerParts = Pick<Parts, 'codec' | 'revocations' | 'rules' | 'clock'> & { readonly users: RecentUsers }

/**
 * Who an access token speaks for. As Simple JWT's JWTAuthentication. Throws KeyturnError BEARER_INVALID for a token that is no
 * good access token, BEARER_NO_USER for one without a user, BEARER_USER_GONE and BEARER_USER_INACTIVE after asking for that one.
 */
export const makeAuthenticate =
  ({ codec, users, revocations, rules, clock }: CallerParts) =>
  async (token: string): Promise<Caller> => {
    const claims = readAccess(token)
    if (claims.user_id === undefined) throw new KeyturnError('BEARER_NO_USER')
    const user = await users.findById(claims.user_id)
    if (user === undefined) throw new KeyturnError('BEARER_USER_GONE')
    if (!user.isActive) throw new KeyturnError('BEARER_USER_INACTIVE')
    const { sid, scope = '', exp: expiresAt } = claims
    return { userId: user.id, sid, username: user.username, scopes: parseScope(scope) ?? [], expiresAt }

    function readAccess(token: string) {
      try {
        const claims = checkClaims(codec.read(token), clock(), rules)
        demandType(claims, 'access')
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

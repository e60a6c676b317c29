import { isTokenOf } from '../../clients/client.ts'
import { parseScope } from '../../clients/scope.ts'
import { KeyturnError } from '../../errors.ts'
import { type Claims, checkClaims, demandType } from '../../tokens/claims.ts'
import type { CurrentUser } from '../../users/recent.ts'
import type { User } from '../../users/user.ts'
import type { Bearer } from '../caller.ts'
import type { Parts } from '../parts.ts'
import { type Actor, isAllowed, type ManagementScope, scopesOf } from './act.ts'

/** Who sent a management request: a client or a user, and what it may do. */
export type Principal = Pick<Actor, 'actor'> & { readonly scopes: readonly string[] }

/**
 * Identifies the actor of an access token at the management endpoints: a client that still has the token's scopes, or a user
 * with a live session for whom a token issued now would have them. A valid signature is not enough: other services may have the
 * key (SIGNING_KEY), and an adopted token may contain the claim. Throws KeyturnError BEARER_INVALID, the errors of
 * makeIdentify, CLAIMS_FAILED, and SCOPE_MISSING for a token without `scope`.
 */
export const makeAuthorize = (
  parts: Pick<Parts, 'codec' | 'rules' | 'clock' | 'revocations' | 'clients' | 'sessions' | 'hooks'>,
  { identify }: { readonly identify: (token: string) => Promise<Bearer<CurrentUser>> }
) => {
  const { codec, rules, clock, revocations, clients, sessions, hooks } = parts

  /** The claims of a client's own token; undefined for any other token, valid or not. */
  const clientClaims = (token: string): Claims | undefined => {
    try {
      const claims = checkClaims(codec.read(token), clock(), rules)
      demandType(claims, 'access', rules)
      return claims.client_id === undefined || revocations.has(claims) ? undefined : claims
    } catch (error) {
      if (error instanceof KeyturnError && error.status === 401) return undefined
      throw error
    }
  }

  /** The scopes that a token issued to the session now would have. */
  const currentScopes = async (user: User, sid: string | undefined): Promise<readonly string[]> => {
    const session = sid === undefined ? undefined : await sessions.find(user.id, sid)
    if (session === undefined) throw new KeyturnError('BEARER_INVALID', { detail: 'the token has no live session' })
    return scopesOf({ claims: await hooks.claims(user, { grant: 'refresh', sid }) })
  }

  const principalOf = async (token: string): Promise<Principal> => {
    const { client_id: id, scope = '', iat } = clientClaims(token) ?? {}
    if (id === undefined) {
      const { caller, user } = await identify(token)
      const { userId, sid, scopes } = caller
      const current = await currentScopes(user.stored, sid)
      return { actor: `user:${userId}`, scopes: scopes.filter((each) => current.includes(each)) }
    }
    const client = clients.find(id)
    if (!isTokenOf(client, iat)) throw new KeyturnError('BEARER_INVALID', { detail: `no client ${id}` })
    const granted = parseScope(scope) ?? []
    return { actor: `client:${id}`, scopes: granted.filter((each) => client.scopes.includes(each)) }
  }

  return async (token: string, scope: ManagementScope): Promise<Principal> => {
    const principal = await principalOf(token)
    if (!isAllowed(principal.scopes, scope)) throw new KeyturnError('SCOPE_MISSING')
    return principal
  }
}

import { parseScope } from '../../clients/scope.ts'
import { KeyturnError } from '../../errors.ts'
import { type Claims, checkClaims, demandType } from '../../tokens/claims.ts'
import type { Caller } from '../caller.ts'
import type { Parts } from '../parts.ts'
import { type Actor, isAllowed, type ManagementScope } from './act.ts'

/** Who sent a management request: a client or a user, and what it may do. */
export type Principal = Pick<Actor, 'actor'> & { readonly scopes: readonly string[] }

/**
 * Who an access token speaks for at the management endpoints: a client that still has the token's scopes, or a user who may still
 * log in and whose `scope` claim has them. Throws KeyturnError BEARER_INVALID and as makeAuthenticate does, and SCOPE_MISSING for a
 * token without `scope`.
 */
export const makeAuthorize = (
  parts: Pick<Parts, 'codec' | 'rules' | 'clock' | 'revocations' | 'clients'>,
  { authenticate }: { readonly authenticate: (token: string) => Promise<Caller> }
) => {
  const { codec, rules, clock, revocations, clients } = parts

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

  const identify = async (token: string): Promise<Principal> => {
    const { client_id: id, scope = '' } = clientClaims(token) ?? {}
    if (id === undefined) {
      const { userId, scopes } = await authenticate(token)
      return { actor: `user:${userId}`, scopes }
    }
    const client = clients.find(id)
    if (client === undefined) throw new KeyturnError('BEARER_INVALID', { detail: `no client ${id}` })
    const granted = parseScope(scope) ?? []
    return { actor: `client:${id}`, scopes: granted.filter((each) => client.scopes.includes(each)) }
  }

  return async (token: string, scope: ManagementScope): Promise<Principal> => {
    const principal = await identify(token)
    if (!isAllowed(principal.scopes, scope)) throw new KeyturnError('SCOPE_MISSING')
    return principal
  }
}

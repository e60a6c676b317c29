import { type Client, firstIssuedAt } from '../clients/client.ts'
import type { CustomClaims } from '../hooks.ts'
import { randomId } from '../random.ts'
import type { Clock } from '../time.ts'
import { buildClaims, buildClientClaims, type ClaimRules, claimsForServices, type TokenUser } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** A session and its end, in whole seconds since 1970; its access tokens expire by then. */
export interface LiveSession {
  readonly sid: string
  readonly expiresAt: number
}

/** Issues access tokens. */
export interface AccessTokens {
  /** A new access token of a session, valid from now for ACCESS_TOKEN_LIFETIME or until the session ends. */
  issue(user: TokenUser, session: LiveSession, custom: CustomClaims): string
  /** How long a token issued to the session now is valid, in whole seconds. */
  lifetimeIn(session: LiveSession): number
  /** A client's own access token: without a user or session, valid for ACCESS_TOKEN_LIFETIME. */
  issueToClient(client: Pick<Client, 'id' | 'createdAt'>, scopes: readonly string[]): string
  /** How long access tokens are valid, in whole seconds. */
  readonly lifetime: number
}

/** `lifetime` is whole seconds. */
export function makeAccessTokens(codec: TokenCodec, lifetime: number, rules: ClaimRules, clock: Clock): AccessTokens {
  const begin = (expiresAt = Number.POSITIVE_INFINITY) => {
    const now = clock()
    return { exp: Math.min(now + lifetime, expiresAt), iat: now, jti: randomId() }
  }
  return {
    lifetime,
    lifetimeIn: ({ expiresAt }) => Math.max(0, Math.min(lifetime, expiresAt - clock())),
    issue(user, { sid, expiresAt }, custom) {
      const facts = { token_type: 'access', ...begin(expiresAt), user, sid } as const
      return codec.sign('access', buildClaims(facts, rules, { ...claimsForServices(user.id, rules), ...custom }))
    },
    issueToClient(client, scopes) {
      const { exp, iat, jti } = begin()
      const facts = { exp, iat: Math.max(iat, firstIssuedAt(client)), jti, clientId: client.id, scopes }
      return codec.sign('access', buildClientClaims(facts, rules))
    }
  }
}

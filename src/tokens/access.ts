import { randomId } from '../random.ts'
import type { Clock } from '../time.ts'
import {
  buildClaims,
  buildClientClaims,
  type ClaimRules,
  type CustomClaims,
  claimsForServices,
  type TokenUser
} from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** Makes access tokens. */
export interface AccessTokens {
  /** A new access token of a session: good from now, for ACCESS_TOKEN_LIFETIME. */
  issue(user: TokenUser, sid: string, custom: CustomClaims): string
  /** A new access token of a client's own: without a user, without a session, good for as long. */
  issueToClient(clientId: string, scopes: readonly string[]): string
  /** How long they are good, in whole seconds. */
  readonly lifetime: number
}

/** `lifetime` is whole seconds. */
export function makeAccessTokens(codec: TokenCodec, lifetime: number, rules: ClaimRules, clock: Clock): AccessTokens {
  const begin = () => {
    const now = clock()
    return { exp: now + lifetime, iat: now, jti: randomId() }
  }
  return {
    lifetime,
    issue(user, sid, custom) {
      const facts = { token_type: 'access', ...begin(), user, sid } as const
      return codec.sign('access', buildClaims(facts, rules, { ...claimsForServices(user.id, rules), ...custom }))
    },
    issueToClient: (clientId, scopes) =>
      codec.sign('access', buildClientClaims({ ...begin(), clientId, scopes }, rules))
  }
}

import { randomId } from '../random.ts'
import type { Clock } from '../time.ts'
import { buildClaims, type ClaimRules, type CustomClaims, claimsForServices, type TokenUser } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** Makes access tokens. */
export interface AccessTokens {
  /** A new access token of a session: good from now, for ACCESS_TOKEN_LIFETIME. */
  issue(user: TokenUser, sid: string, custom: CustomClaims): string
}

/** `lifetime` is whole seconds. */
export const makeAccessTokens = (
  codec: TokenCodec,
  lifetime: number,
  rules: ClaimRules,
  clock: Clock
): AccessTokens => ({
  issue(user, sid, custom) {
    const now = clock()
    const facts = { exp: now + lifetime, iat: now, jti: randomId(), user, sid } as const
    const more = { ...claimsForServices(user.id, rules), ...custom }
    return codec.sign('access', buildClaims({ token_type: 'access', ...facts }, rules, more))
  }
})

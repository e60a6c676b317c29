import { randomId } from '../random.ts'
import type { Clock } from '../time.ts'
import { buildClaims, type ClaimRules } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** Makes access tokens. */
export interface AccessTokens {
  /** A new access token of a session: good from now, for ACCESS_TOKEN_LIFETIME. */
  issue(userId: string, sid: string): string
}

/** `lifetime` is whole seconds. */
export const makeAccessTokens = (
  codec: TokenCodec,
  lifetime: number,
  rules: ClaimRules,
  clock: Clock
): AccessTokens => ({
  issue(userId, sid) {
    const now = clock()
    return codec.sign(
      'access',
      buildClaims({ token_type: 'access', exp: now + lifetime, iat: now, jti: randomId(), user_id: userId, sid }, rules)
    )
  }
})

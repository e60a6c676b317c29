import { randomId } from '../random.ts'
import type { Clock } from '../time.ts'
import { buildClaims, type ClaimRules, type CustomClaims } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** Makes access tokens. */
export interface AccessTokens {
  /** A new access token of a session: good from now, for ACCESS_TOKEN_LIFETIME. */
  issue(userId: string, sid: string, custom: CustomClaims): string
}

export interface AccessSettings {
  /** Whole seconds. */
  readonly lifetime: number
  readonly profile: 'simplejwt' | 'rfc9068'
}

/** `sub` is there as soon as tokens have an issuer: whoever reads `iss` reads it too. `client_id`: RFC 9068 §2.2. */
export function makeAccessTokens(
  codec: TokenCodec,
  { lifetime, profile }: AccessSettings,
  rules: ClaimRules,
  clock: Clock
): AccessTokens {
  return {
    issue(userId, sid, custom) {
      const now = clock()
      const facts = { exp: now + lifetime, iat: now, jti: randomId(), user_id: userId, sid } as const
      const more = {
        ...(rules.issuer === undefined ? {} : { sub: userId }),
        ...(profile === 'rfc9068' ? { client_id: 'keyturn' } : {}),
        ...custom
      }
      return codec.sign('access', buildClaims({ token_type: 'access', ...facts }, rules, more))
    }
  }
}

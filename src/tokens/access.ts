import { ownClientId } from '../clients/client.ts'
import { randomId } from '../random.ts'
import type { Clock } from '../time.ts'
import { buildClaims, type ClaimRules, type CustomClaims } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** Makes access tokens. */
export interface AccessTokens {
  /** A new access token of a session: good from now, for ACCESS_TOKEN_LIFETIME. */
  issue(userId: string, sid: string, custom: CustomClaims): string
  /** A new access token of a client's own: without a user, without a session, good for as long. */
  issueToClient(clientId: string, scopes: readonly string[]): string
  /** How long they are good, in whole seconds. */
  readonly lifetime: number
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
  const begin = () => {
    const now = clock()
    return { token_type: 'access', exp: now + lifetime, iat: now, jti: randomId() } as const
  }
  return {
    lifetime,
    issue(userId, sid, custom) {
      const more = {
        ...(rules.issuer === undefined ? {} : { sub: userId }),
        ...(profile === 'rfc9068' ? { client_id: ownClientId } : {}),
        ...custom
      }
      return codec.sign('access', buildClaims({ ...begin(), user_id: userId, sid }, rules, more))
    },
    issueToClient(clientId, scopes) {
      const more = scopes.length === 0 ? {} : { scope: scopes.join(' ') }
      return codec.sign('access', buildClaims({ ...begin(), sub: clientId, client_id: clientId }, rules, more))
    }
  }
}

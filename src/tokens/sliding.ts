import { KeyturnError } from '../errors.ts'
import { derivedId, equalInConstantTime } from '../random.ts'
import type { Session } from '../sessions/session.ts'
import type { PresentedGeneration } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import {
  buildClaims,
  type ClaimRules,
  type Claims,
  type CustomClaims,
  checkClaims,
  claimsForServices,
  demandType,
  type TokenUser
} from './claims.ts'
import type { TokenCodec } from './codec.ts'
import type { PresentedToken } from './refresh.ts'

/**
 * Makes and reads sliding tokens: one token that is sent with requests, as an access token is, and refreshed, as a refresh token
 * is. A refresh makes a later one with the same `jti` and `refresh_exp`, and the earlier one stays good until it expires: so
 * their session has one generation, and nothing to rotate.
 */
export interface SlidingTokens {
  /** How long a session of theirs lives, in whole seconds: until the last token that can be made in it has expired. */
  readonly sessionLifetime: number
  /**
   * A token of `session`, good from now for SLIDING_TOKEN_LIFETIME, but not beyond the session. `refreshExp` is that of the one
   * it comes from; without one it is SLIDING_TOKEN_REFRESH_LIFETIME from now.
   */
  issue(user: TokenUser, session: Pick<Session, 'sid' | 'expiresAt'>, custom: CustomClaims, refreshExp?: number): string
  /** Throws KeyturnError TOKEN_*. */
  read(token: string): PresentedToken
  /** Until when it may be refreshed. Throws KeyturnError TOKEN_REFRESH_EXPIRED and TOKEN_NO_REFRESH_EXPIRY. */
  refreshExpOf(claims: Claims): number
  /**
   * The session of claims that were checked already; undefined for a token that is none of ours or no sliding token. Throws
   * KeyturnError TOKEN_INVALID for one whose session we did not give it.
   */
  placeOf(claims: Claims): PresentedGeneration | undefined
}

export interface SlidingSettings {
  /** Whole seconds, both. */
  readonly lifetime: number
  readonly refreshLifetime: number
}

/**
 * Services verify sliding tokens as they do access tokens, so they are signed with the same key. Where that is a shared secret,
 * others can sign them too: but only we can derive the `jti` that goes with a session, and so a sliding token never passes for
 * one in the session of a refresh token.
 */
export function makeSlidingTokens(
  codec: TokenCodec,
  jtiSecret: Buffer,
  { lifetime, refreshLifetime }: SlidingSettings,
  rules: ClaimRules,
  clock: Clock
): SlidingTokens {
  const jtiOf = (userId: string, sid: string): string => derivedId(jtiSecret, `sliding.${sid}.${userId}`)

  const placeOf = ({ token_type, user_id: userId, sid, jti }: Claims): PresentedGeneration | undefined => {
    // Simple JWT's own sliding tokens have no session.
    if (token_type !== 'sliding' || sid === undefined) return undefined
    if (userId !== undefined && equalInConstantTime(jti ?? '', jtiOf(userId, sid)))
      return { userId, sid, generation: 0 }
    throw new KeyturnError('TOKEN_INVALID', { detail: 'a sliding token of ours by its claims, and not by its jti' })
  }

  return {
    // The leeway counts twice: when the last token is made, and when it expires.
    sessionLifetime: refreshLifetime + lifetime + 2 * rules.leeway,
    issue(user, { sid, expiresAt }, custom, refreshExp) {
      const now = clock()
      const facts = {
        token_type: 'sliding',
        exp: Math.min(now + lifetime, expiresAt),
        iat: now,
        jti: jtiOf(user.id, sid),
        refresh_exp: refreshExp ?? now + refreshLifetime,
        user,
        sid
      } as const
      return codec.sign('access', buildClaims(facts, rules, { ...claimsForServices(user.id, rules), ...custom }))
    },
    read(token) {
      const claims = checkClaims(codec.read(token), clock(), rules)
      demandType(claims, 'sliding', rules)
      const place = placeOf(claims)
      if (place === undefined) throw new KeyturnError('TOKEN_INVALID', { detail: 'a sliding token of somebody else' })
      return { ...place, claims }
    },
    refreshExpOf({ refresh_exp }) {
      const detail = rules.names.refresh_exp
      if (refresh_exp === undefined) throw new KeyturnError('TOKEN_NO_REFRESH_EXPIRY', { detail })
      if (refresh_exp <= clock() - rules.leeway) throw new KeyturnError('TOKEN_REFRESH_EXPIRED', { detail })
      return refresh_exp
    },
    placeOf
  }
}

import { KeyturnError } from '../errors.ts'
import { equalInConstantTime, hmac } from '../random.ts'
import type { Generation } from '../sessions/session.ts'
import type { PresentedGeneration } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import { buildClaims, type ClaimRules, type Claims, checkClaims, demandType, type TokenUser } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/** A token whose session is known: whose it is and where in its line, and all its claims. */
export interface PresentedToken extends PresentedGeneration {
  readonly claims: Claims
}

/** Makes and reads refresh tokens. */
export interface RefreshTokens {
  /** The refresh token of one generation: a pure function of its arguments and the key, so it can be handed out twice without being stored. */
  issue(user: TokenUser, sid: string, generation: Generation): string
  /** Throws KeyturnError TOKEN_*. */
  read(token: string): PresentedToken
  /**
   * The same for claims that were checked already; undefined for a token that is none of ours or no refresh token. Throws
   * KeyturnError TOKEN_INVALID for a refresh token with a generation that we did not give it.
   */
  placeOf(claims: Claims): PresentedGeneration | undefined
}

/**
 * A refresh token's `jti` is derived from its place in the line under a secret that nobody else holds. It proves that the
 * token is ours even where SIGNING_KEY is shared with other services, who could otherwise sign a `gen` of their choice.
 */
export function makeRefreshTokens(
  codec: TokenCodec,
  jtiSecret: Buffer,
  rules: ClaimRules,
  clock: Clock
): RefreshTokens {
  const jtiOf = ({ userId, sid, generation }: PresentedGeneration): string =>
    hmac(jtiSecret, `${sid}.${generation}.${userId}`).toString('hex', 0, 16)

  const placeOf = (claims: Claims): PresentedGeneration | undefined => {
    const { token_type, user_id: userId, sid, gen: generation, jti } = claims
    // Simple JWT's own refresh tokens have no generation.
    if (token_type !== 'refresh' || generation === undefined) return undefined
    const place = userId !== undefined && sid !== undefined && { userId, sid, generation }
    if (place && equalInConstantTime(jti ?? '', jtiOf(place))) return place
    throw new KeyturnError('TOKEN_INVALID', { detail: 'a refresh token of ours by its claims, and not by its jti' })
  }

  return {
    issue: (user, sid, { number: generation, issuedAt, expiresAt }) =>
      codec.sign(
        'refresh',
        buildClaims(
          {
            token_type: 'refresh',
            exp: expiresAt,
            iat: issuedAt,
            jti: jtiOf({ userId: user.id, sid, generation }),
            user,
            sid,
            gen: generation
          },
          rules
        )
      ),
    read(token) {
      // `iat` is the session store's time, which may be ahead of ours: the jti proves that we wrote it.
      const { iat: _, ...payload } = codec.read(token)
      const claims = checkClaims(payload, clock(), rules)
      demandType(claims, 'refresh', rules)
      const place = placeOf(claims)
      if (place === undefined) throw new KeyturnError('TOKEN_INVALID', { detail: 'a refresh token of somebody else' })
      return { ...place, claims }
    },
    placeOf
  }
}

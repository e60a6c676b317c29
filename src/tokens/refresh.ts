import { KeyturnError } from '../errors.ts'
import { derivedId, equalInConstantTime } from '../random.ts'
import type { Generation } from '../sessions/session.ts'
import type { ForeignToken, PresentedGeneration } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import { type AdoptionRules, makeAdoptedPlaceOf } from './adoption.ts'
import { buildClaims, type ClaimRules, type Claims, checkClaims, demandType, type TokenUser } from './claims.ts'
import type { TokenCodec } from './codec.ts'

/**
 * A token whose session is known: whose it is and where in its line, and all its claims; `foreign` when another issuer
 * signed it, with a session that may have to be started for it.
 */
export interface PresentedToken extends PresentedGeneration {
  readonly claims: Claims
  readonly foreign?: ForeignToken & { readonly jti: string }
}

export type RefreshPlace = Omit<PresentedToken, 'claims'>

/** What the other issuer refuses itself. */
export interface ForeignBlacklist {
  /** Throws KeyturnError STORE_DOWN when that cannot be told. */
  has(jti: string): Promise<boolean>
}

/** Makes and reads refresh tokens. */
export interface RefreshTokens {
  /**
   * The refresh token of one generation: a pure function of its arguments and the key, so it can be handed out twice
   * without being stored.
   */
  issue(user: TokenUser, sid: string, generation: Generation): string
  /** Throws KeyturnError TOKEN_*. */
  read(token: string): PresentedToken
  /**
   * The same for claims that were checked already; undefined for a token of another type. Throws KeyturnError
   * TOKEN_INVALID for a refresh token that claims to be ours and is not, and for one of another issuer that is not adopted.
   */
  placeOf(claims: Claims): RefreshPlace | undefined
}

/**
 * A refresh token's `jti` is derived from its place in the line under a secret that nobody else holds. It proves that the
 * token is ours even where SIGNING_KEY is shared with other services, who could otherwise sign a `gen` of their choice.
 */
export function makeRefreshTokens(
  codec: TokenCodec,
  jtiSecret: Buffer,
  rules: ClaimRules,
  clock: Clock,
  adoption: AdoptionRules | undefined
): RefreshTokens {
  const jtiOf = ({ userId, sid, generation }: PresentedGeneration): string =>
    derivedId(jtiSecret, `${sid}.${generation}.${userId}`)

  const adoptedPlaceOf = makeAdoptedPlaceOf('refresh', jtiSecret, adoption, rules, clock)

  const placeOf = (claims: Claims): RefreshPlace | undefined => {
    const { token_type, user_id: userId, sid, gen: generation, jti } = claims
    if (token_type !== 'refresh') return undefined
    if (sid === undefined && generation === undefined) {
      const place = adoptedPlaceOf(claims, claims.exp)
      if (place !== undefined) return place
      throw new KeyturnError('TOKEN_INVALID', { detail: 'a refresh token of another issuer, which is not adopted' })
    }
    const place = userId !== undefined && sid !== undefined && generation !== undefined && { userId, sid, generation }
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
      const payload = codec.read(token)
      const isForeign = payload.sid === undefined && payload.gen === undefined
      // In a token of ours `iat` is the session store's time, which may be ahead: the jti proves that we wrote it.
      const claims = checkClaims(isForeign ? payload : { ...payload, iat: undefined }, clock(), rules)
      demandType(claims, 'refresh', rules)
      const place = placeOf(claims)
      if (place === undefined) throw new KeyturnError('TOKEN_INVALID', { detail: 'a token without a type' })
      return { ...place, claims }
    },
    placeOf
  }
}

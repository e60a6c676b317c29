import { KeyturnError } from '../errors.ts'
import { derivedId, equalInConstantTime } from '../random.ts'
import type { Generation } from '../sessions/session.ts'
import type { ForeignToken, PresentedGeneration } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
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

/** The last second of the year 9999. */
const endOfTime = 253_402_300_799

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
   * The same for claims that were checked already; undefined for what is no refresh token. Throws KeyturnError
   * TOKEN_INVALID for a refresh token with a generation that we did not give it, and for one of another issuer when
   * these are not adopted.
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
  { adopts }: { readonly adopts: boolean }
): RefreshTokens {
  const jtiOf = ({ userId, sid, generation }: PresentedGeneration): string =>
    derivedId(jtiSecret, `${sid}.${generation}.${userId}`)

  /**
   * Simple JWT's tokens have no session and no place. Theirs is the first in the line of a session that only this token
   * has.
   */
  const adoptedPlaceOf = ({ user_id: userId, jti, iat, exp }: Claims): RefreshPlace | undefined => {
    if (!adopts || userId === undefined || jti === undefined) return undefined
    const sid = derivedId(jtiSecret, `adopted.${jti}.${userId}`)
    // As long as anybody may take the token for good, by a clock that differs from ours.
    const expiresAt = Math.min(Math.ceil(exp), endOfTime) + rules.leeway + 60
    const foreign = { userId, sid, jti, issuedAt: Math.floor(iat ?? 0), expiresAt }
    return { userId, sid, generation: 0, foreign }
  }

  const placeOf = (claims: Claims): RefreshPlace | undefined => {
    const { token_type, user_id: userId, sid, gen: generation, jti } = claims
    if (token_type !== 'refresh') return undefined
    if (sid === undefined && generation === undefined) return adoptedPlaceOf(claims)
    if (generation === undefined) return undefined
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
      const payload = codec.read(token)
      // `iat` is the session store's time, which may be ahead of ours: the jti proves that we wrote it.
      const claims = checkClaims({ ...payload, iat: undefined }, clock(), rules)
      demandType(claims, 'refresh', rules)
      const { iat } = payload
      const place = placeOf({ ...claims, iat: typeof iat === 'number' ? iat : undefined })
      if (place === undefined) throw new KeyturnError('TOKEN_INVALID', { detail: 'a refresh token of somebody else' })
      return { ...place, claims }
    },
    placeOf
  }
}

import type { CustomClaims } from '../hooks.ts'
import { KeyturnError } from '../errors.ts'
import { derivedId, equalInConstantTime } from '../random.ts'
import type { Generation } from '../sessions/session.ts'
import type { PresentedGeneration } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import { makeAdopted, type PresentedToken, type RefreshPlace } from './adopted.ts'
import type { AdoptionRules } from './adoption.ts'
import {
  buildClaims,
  type ClaimRules,
  type Claims,
  checkClaims,
  customClaimsIn,
  demandType,
  noClaims,
  reservedClaims,
  type TokenUser
} from './claims.ts'
import type { Payload, TokenCodec } from './codec.ts'

/** Tokens that the other issuer has blacklisted. */
export interface ForeignBlacklist {
  /** Throws KeyturnError STORE_DOWN. */
  has(jti: string): Promise<boolean>
}

/** Makes and validates refresh tokens. */
export interface RefreshTokens {
  /**
   * The refresh token of a generation: a pure function of its arguments and the key, so it can be issued twice
   * without being stored.
   */
  issue(user: TokenUser, sid: string, generation: Generation, carried?: CustomClaims): string
  /** Throws KeyturnError TOKEN_*. */
  read(token: string): PresentedToken
  /**
   * The same for claims that were checked already; undefined for a token of another type. Throws KeyturnError
   * TOKEN_INVALID for a refresh token that claims to be ours and is not, and for one of another issuer that is not adopted.
   */
  placeOf(claims: Claims, payload: Payload): RefreshPlace | undefined
}

/**
 * The `jti` of a refresh token is derived from its position in the chain under a secret that never leaves Keyturn. It proves that
 * the token is ours even if SIGNING_KEY is shared with other services, which could otherwise sign any `gen`.
 */
export function makeRefreshTokens(
  codec: TokenCodec,
  jtiSecret: Buffer,
  rules: ClaimRules,
  clock: Clock,
  adoption: AdoptionRules | undefined
): RefreshTokens {
  const reserved = reservedClaims(rules.names)
  const { jtiOf, carriedIn } = makeDerivedIds(jtiSecret, reserved)
  const adopted = makeAdopted('refresh', jtiSecret, adoption, rules, clock)

  const placeOf = (claims: Claims, payload: Payload): RefreshPlace | undefined => {
    const { token_type, user_id: userId, sid, gen: generation, jti = '' } = claims
    if (token_type !== 'refresh') return undefined
    if (sid === undefined && generation === undefined) {
      const place = adopted.placeOf(claims, claims.exp)
      if (place !== undefined) return { ...place, carried: customClaimsIn(payload, reserved) }
      throw new KeyturnError('TOKEN_INVALID', { detail: 'a refresh token of another issuer, which is not adopted' })
    }
    if (userId !== undefined && sid !== undefined && generation !== undefined) {
      const carried = carriedIn({ userId, sid, generation }, jti, payload)
      if (carried !== undefined) return { userId, sid, generation, carried }
    }
    throw new KeyturnError('TOKEN_INVALID', { detail: 'the claims of a refresh token of ours, but not its jti' })
  }

  return {
    issue: (user, sid, { number: generation, issuedAt, expiresAt }, carried = noClaims) =>
      codec.sign(
        'refresh',
        buildClaims(
          {
            token_type: 'refresh',
            exp: expiresAt,
            iat: issuedAt,
            jti: jtiOf({ userId: user.id, sid, generation }, carried),
            user,
            sid,
            gen: generation
          },
          rules,
          carried
        )
      ),
    read(token) {
      const payload = codec.read(token)
      const isForeign = payload.sid === undefined && payload.gen === undefined
      // In our tokens `iat` is the session store's time, which may be ahead; the jti proves that we issued it.
      const claims = checkClaims(isForeign ? payload : { ...payload, iat: undefined }, clock(), rules)
      demandType(claims, 'refresh', rules)
      const place = placeOf(claims, payload)
      if (place === undefined) throw new KeyturnError('TOKEN_INVALID', { detail: 'a token without a type' })
      return { ...place, claims }
    },
    placeOf
  }
}

/** The ids of refresh tokens, and what they prove. */
function makeDerivedIds(jtiSecret: Buffer, reserved: ReadonlySet<string>) {
  const jtiOf = ({ userId, sid, generation }: PresentedGeneration, carried: CustomClaims): string =>
    derivedId(
      jtiSecret,
      carried === noClaims
        ? `${sid}.${generation}.${userId}`
        : `carried.${JSON.stringify([sid, generation, userId, carried])}`
    )

  /**
   * The custom claims of a token of ours; undefined if its jti is not ours. Claims that its jti does not cover, which another
   * holder of SIGNING_KEY has added, are ignored.
   */
  const carriedIn = (place: PresentedGeneration, jti: string, payload: Payload): CustomClaims | undefined => {
    const custom = customClaimsIn(payload, reserved)
    if (equalInConstantTime(jti, jtiOf(place, custom))) return custom
    return custom !== noClaims && equalInConstantTime(jti, jtiOf(place, noClaims)) ? noClaims : undefined
  }

  return { jtiOf, carriedIn }
}

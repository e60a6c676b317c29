import type { CustomClaims } from '../hooks.ts'
import { KeyturnError } from '../errors.ts'
import { derivedId, equalInConstantTime } from '../random.ts'
import type { Session } from '../sessions/session.ts'
import type { Clock } from '../time.ts'
import type { AdoptionRules } from './adoption.ts'
import {
  buildClaims,
  type ClaimRules,
  type Claims,
  checkClaims,
  claimsForServices,
  customClaimsIn,
  demandType,
  reservedClaims,
  type TokenUser
} from './claims.ts'
import type { TokenCodec } from './codec.ts'
import { type Adopted, makeAdopted, type PresentedToken, type RefreshPlace } from './adopted.ts'

/**
 * Makes and validates sliding tokens, which are sent with requests like access tokens and exchanged like refresh tokens. A refresh
 * issues one that expires later, with the same `jti` and `refresh_exp`, and the earlier one stays valid until it expires: their
 * session has one generation and is not rotated.
 */
export interface SlidingTokens {
  /** The lifetime of their sessions in whole seconds: until the last token that can be issued has expired. */
  readonly sessionLifetime: number
  /**
   * A token of `session`, valid from now for SLIDING_TOKEN_LIFETIME, but not beyond the session. `jti` and `refresh_exp` are those
   * of the token it is exchanged for; after a login `refresh_exp` is SLIDING_TOKEN_REFRESH_LIFETIME from now.
   */
  issue(
    user: TokenUser,
    session: Pick<Session, 'sid' | 'expiresAt'>,
    custom: CustomClaims,
    presented?: Pick<Claims, 'jti' | 'refresh_exp'>
  ): string
  /** Throws KeyturnError TOKEN_*. */
  read(token: string): PresentedToken
  /** Throws KeyturnError TOKEN_REFRESH_EXPIRED and TOKEN_NO_REFRESH_EXPIRY. */
  demandRefreshable(claims: Claims): void
  /**
   * The session of claims that were checked already; undefined for a token of another type, and for one of another issuer that is
   * not adopted. Throws KeyturnError TOKEN_INVALID for a token whose session we did not give it.
   */
  placeOf(claims: Claims): RefreshPlace | undefined
}

export interface SlidingSettings {
  /** Whole seconds, both. */
  readonly lifetime: number
  readonly refreshLifetime: number
  /** Which tokens of Simple JWT are adopted; undefined is none. */
  readonly adoption: AdoptionRules | undefined
}

/**
 * Services verify sliding tokens like access tokens, so both are signed with the same key. If that is a shared secret, others can
 * sign them too; but only we can derive the `jti` of a session (or, for an adopted token of Simple JWT, the session id of its
 * `jti`), so a sliding token is never accepted in the session of a refresh token.
 */
export function makeSlidingTokens(
  codec: TokenCodec,
  jtiSecret: Buffer,
  { lifetime, refreshLifetime, adoption }: SlidingSettings,
  rules: ClaimRules,
  clock: Clock
): SlidingTokens {
  const reserved = reservedClaims(rules.names)
  // The leeway counts twice: when the last token is issued, and when it expires.
  const sessionLifetime = refreshLifetime + lifetime + 2 * rules.leeway
  const adopted = makeAdopted('sliding', jtiSecret, adoption, rules, clock)
  const { jtiOf, isAdopted, placeOf } = makePlaces(jtiSecret, adopted, { lifetime, sessionLifetime })

  return {
    sessionLifetime,
    issue(user, { sid, expiresAt }, custom, presented) {
      const now = clock()
      const facts = {
        token_type: 'sliding',
        exp: Math.min(now + lifetime, expiresAt),
        iat: now,
        jti: presented?.jti ?? jtiOf(user.id, sid),
        refresh_exp: presented?.refresh_exp ?? now + refreshLifetime,
        user,
        sid
      } as const
      return codec.sign('access', buildClaims(facts, rules, { ...claimsForServices(user.id, rules), ...custom }))
    },
    read(token) {
      const payload = codec.read(token)
      const claims = checkClaims(payload, clock(), rules)
      demandType(claims, 'sliding', rules)
      const place = placeOf(claims)
      if (place === undefined)
        throw new KeyturnError('TOKEN_INVALID', {
          detail: 'a sliding token of another issuer; adoption is off or has ended'
        })
      // For our own tokens the custom claims are computed again at each refresh.
      const isCarrier = place.foreign !== undefined || isAdopted(claims)
      return isCarrier ? { ...place, claims, carried: customClaimsIn(payload, reserved) } : { ...place, claims }
    },
    demandRefreshable({ refresh_exp }) {
      const detail = rules.names.refresh_exp
      if (refresh_exp === undefined) throw new KeyturnError('TOKEN_NO_REFRESH_EXPIRY', { detail })
      if (refresh_exp <= clock() - rules.leeway) throw new KeyturnError('TOKEN_REFRESH_EXPIRED', { detail })
    },
    placeOf
  }
}

/** The ids of sliding tokens, and the sessions that they prove. */
function makePlaces(
  jtiSecret: Buffer,
  adopted: Adopted,
  { lifetime, sessionLifetime }: { readonly lifetime: number; readonly sessionLifetime: number }
) {
  const jtiOf = (userId: string, sid: string): string => derivedId(jtiSecret, `sliding.${sid}.${userId}`)

  /** Whether a token of ours descends from one of Simple JWT: it keeps the `jti`, from which the session id is derived. */
  const isAdopted = ({ user_id = '', sid = '', jti = '' }: Claims): boolean =>
    equalInConstantTime(sid, adopted.sidOf(jti, user_id))

  const placeOf = (claims: Claims): RefreshPlace | undefined => {
    const { token_type, user_id: userId, sid, jti = '', exp, refresh_exp = exp } = claims
    if (token_type !== 'sliding') return undefined
    if (sid === undefined) {
      const place = adopted.placeOf(claims, Math.max(exp, refresh_exp + lifetime))
      return place?.foreign && { ...place, foreign: { ...place.foreign, lifetime: sessionLifetime } }
    }
    if (userId !== undefined && (equalInConstantTime(jti, jtiOf(userId, sid)) || isAdopted(claims)))
      return { userId, sid, generation: 0 }
    throw new KeyturnError('TOKEN_INVALID', {
      detail: 'its claims are those of our sliding tokens, but its jti is not ours'
    })
  }

  return { jtiOf, isAdopted, placeOf }
}

import type { CustomClaims } from '../hooks.ts'
import { derivedId } from '../random.ts'
import type { ForeignToken, PresentedGeneration } from '../sessions/store.ts'
import { type Clock, endOfTime } from '../time.ts'
import type { AdoptionRules } from './adoption.ts'
import type { ClaimRules, Claims } from './claims.ts'

/**
 * A token whose session is known: its user, its position in the chain, and all its claims. `foreign` is set if another issuer
 * signed it; its session may have to be started.
 */
export interface PresentedToken extends PresentedGeneration {
  readonly claims: Claims
  /** The custom claims of an adopted token, which are carried over to its successors. */
  readonly carried?: CustomClaims
  readonly foreign?: ForeignToken & { readonly jti: string }
}

export type RefreshPlace = Omit<PresentedToken, 'claims'>

/** Derives sessions for tokens of Simple JWT, which do not name one. */
export interface Adopted {
  /** The id of the session of this token alone. It cannot be computed without our secret. */
  sidOf(jti: string, userId: string): string
  /**
   * The first position of that session; undefined if the token is not adopted. `lastExp` is the latest `exp` of a token with
   * this `jti`, in seconds since 1970.
   */
  placeOf(claims: Claims, lastExp: number): RefreshPlace | undefined
}

export function makeAdopted(
  kind: 'refresh' | 'sliding',
  jtiSecret: Buffer,
  adoption: AdoptionRules | undefined,
  { leeway }: ClaimRules,
  clock: Clock
): Adopted {
  const prefix = { refresh: 'adopted', sliding: 'adopted-sliding' }[kind]
  const sidOf = (jti: string, userId: string): string => derivedId(jtiSecret, `${prefix}.${jti}.${userId}`)
  const isAdopted = ({ issuedUntil, adoptedUntil }: AdoptionRules, iat = Number.POSITIVE_INFINITY): boolean =>
    Math.floor(iat) <= issuedUntil && clock() <= adoptedUntil
  return {
    sidOf,
    placeOf({ user_id: userId, jti, iat }, lastExp) {
      if (adoption === undefined || !isAdopted(adoption, iat) || userId === undefined || jti === undefined)
        return undefined
      const sid = sidOf(jti, userId)
      // As long as the token may be accepted anywhere, by a clock that differs from ours.
      const expiresAt = Math.min(Math.ceil(lastExp), endOfTime) + leeway + 60
      return { userId, sid, generation: 0, foreign: { userId, sid, jti, issuedAt: Math.floor(iat ?? 0), expiresAt } }
    }
  }
}

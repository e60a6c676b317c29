import { KeyturnError } from '../errors.ts'
import { checkClaims } from '../tokens/claims.ts'
import type { RefreshPlace } from '../tokens/refresh.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/**
 * Whether a token of any type is good right now. As Simple JWT's TokenVerifyView: the type and the user are not looked
 * at. Throws KeyturnError TOKEN_* for a bad token, TOKEN_REVOKED for an access token whose session has ended;
 * FIELDS_INVALID `Token is blacklisted` for a refresh token that was superseded, and for one or a sliding one whose
 * session is over, which Simple JWT answers with 400 here and 401 everywhere else.
 */
export const makeVerify =
  ({ codec, refresh, sliding, sessions, foreignBlacklist, revocations, rules, clock, blacklistAfterRotation }: Parts) =>
  async (token: string): Promise<Outcome> => {
    const claims = checkClaims(codec.read(token), clock(), rules)
    const place = refresh.placeOf(claims) ?? sliding.placeOf(claims)
    if (place !== undefined) {
      if (await isOver(place)) {
        throw new KeyturnError('FIELDS_INVALID', { fields: { non_field_errors: ['Token is blacklisted'] } })
      }
      return outcomeOf(claims.user_id, claims.sid)
    }
    if (revocations.has(claims.sid, claims.jti)) throw new KeyturnError('TOKEN_REVOKED')
    return outcomeOf(claims.user_id, claims.sid)

    async function isOver({ userId, sid, generation, foreign }: RefreshPlace): Promise<boolean> {
      const session = await sessions.find(userId, sid)
      if (session !== undefined) return generation < session.generation && blacklistAfterRotation
      // One of another issuer that nobody has shown here yet is good.
      if (foreign === undefined) return true
      return (await sessions.isAdopted(userId, sid)) || (await foreignBlacklist.has(foreign.jti))
    }
  }

const outcomeOf = (userId: string | undefined, sid: string | undefined): Outcome => ({
  ...(userId === undefined ? {} : { user_id: userId }),
  ...(sid === undefined ? {} : { sid })
})

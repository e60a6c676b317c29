import { KeyturnError } from '../errors.ts'
import { type Claims, checkClaims } from '../tokens/claims.ts'
import type { Payload } from '../tokens/codec.ts'
import type { RefreshPlace } from '../tokens/refresh.ts'
import type { Parts } from './parts.ts'

/** A good token: all that it carries, and what was checked of it. */
export interface Verified {
  readonly payload: Payload
  readonly claims: Claims
  /** Its place in a session that is asked for in the store: that of a refresh or a sliding token. */
  readonly place: RefreshPlace | undefined
}

/**
 * Whether a token of any type is good right now. As Simple JWT's TokenVerifyView: the type and the user are not looked
 * at. Throws KeyturnError TOKEN_* for a bad token, TOKEN_REVOKED for an access token whose session has ended;
 * FIELDS_INVALID `Token is blacklisted` for a refresh token that was superseded, and for one or a sliding one whose
 * session is over, which Simple JWT answers with 400 here and 401 everywhere else. A client's own token is good as long
 * as there is that client.
 */
export const makeVerify = (parts: Parts) => {
  const { codec, refresh, sliding, sessions, foreignBlacklist, revocations, clients, rules, clock } = parts

  return async (token: string): Promise<Verified> => {
    const payload = codec.read(token)
    const claims = checkClaims(payload, clock(), rules)
    const place = refresh.placeOf(claims) ?? sliding.placeOf(claims)
    if (place !== undefined) {
      if (await isOver(place)) {
        throw new KeyturnError('FIELDS_INVALID', { fields: { non_field_errors: ['Token is blacklisted'] } })
      }
      return { payload, claims, place }
    }
    if (revocations.has(claims.sid, claims.jti)) throw new KeyturnError('TOKEN_REVOKED')
    if (claims.client_id !== undefined && clients.find(claims.client_id) === undefined)
      throw new KeyturnError('TOKEN_REVOKED', { detail: `there is no client ${claims.client_id}` })
    return { payload, claims, place }
  }

  async function isOver({ userId, sid, generation, foreign }: RefreshPlace): Promise<boolean> {
    const session = await sessions.find(userId, sid)
    if (session !== undefined) return generation < session.generation && parts.blacklistAfterRotation
    // One of another issuer that nobody has shown here yet is good.
    if (foreign === undefined) return true
    return (await sessions.isSpent(foreign)) || (await foreignBlacklist.has(foreign.jti))
  }
}

/**
 * What `work` gives; undefined when it refuses the token. Rejects when it cannot know, as with a store that is down.
 */
export async function unlessRefused<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof KeyturnError && error.status < 500) return undefined
    throw error
  }
}

import { setImmediate } from 'node:timers/promises'
import { isTokenOf } from '../clients/client.ts'
import { KeyturnError } from '../errors.ts'
import { decide } from '../sessions/rotation.ts'
import { type Claims, checkClaims } from '../tokens/claims.ts'
import type { Payload } from '../tokens/codec.ts'
import type { RefreshPlace } from '../tokens/adopted.ts'
import { inactive, type Introspection, showClaims } from '../tokens/introspection.ts'
import { makeFindSession, makeIsBlacklisted } from './adopt.ts'
import type { Parts } from './parts.ts'

/** A valid token: its whole payload, and the claims that were checked. */
export interface Verified {
  readonly payload: Payload
  readonly claims: Claims
  /** The position of a refresh or sliding token in its session, which is looked up in the store. */
  readonly place: RefreshPlace | undefined
}

/**
 * Whether a token of any type is valid right now. Like Simple JWT's TokenVerifyView, it checks neither the type nor the user.
 * Throws KeyturnError TOKEN_* for an invalid token and TOKEN_REVOKED for an access token whose session has ended;
 * FIELDS_INVALID `Token is blacklisted` for a refresh or sliding token that a refresh would refuse, which Simple JWT answers
 * with 400 here and 401 everywhere else. A client's own token is valid as long as the client exists; another client that is
 * created with its id later does not make the token valid again.
 *
 * For a refresh token, verify returns what a refresh would answer, and changes nothing. If it refused a superseded token that a
 * refresh still accepts, a thief could detect the owner's rotation and refresh within the grace.
 */
export type Verify = (token: string) => Promise<Verified>

export const makeVerify = (parts: Parts): Verify => {
  const { codec, refresh, sliding, sessionPolicy, revocations, clients, rules, clock } = parts
  const isBlacklisted = makeIsBlacklisted(parts)
  const findSession = makeFindSession(parts)

  return async (token) => {
    const payload = codec.read(token)
    const claims = checkClaims(payload, clock(), rules)
    const place = refresh.placeOf(claims, payload) ?? sliding.placeOf(claims)
    if (claims.sid === undefined && (await isBlacklisted(claims))) throw blacklisted()
    if (place !== undefined) {
      if (!(await isRefreshable(place))) throw blacklisted()
      return { payload, claims, place }
    }
    if (revocations.has(claims)) throw new KeyturnError('TOKEN_REVOKED')
    if (claims.client_id !== undefined && !isTokenOf(clients.find(claims.client_id), claims.iat))
      throw new KeyturnError('TOKEN_REVOKED', { detail: `there is no client ${claims.client_id} of that time` })
    return { payload, claims, place }
  }

  async function isRefreshable(place: RefreshPlace): Promise<boolean> {
    const session = await findSession(place)
    // A token of another issuer that has not been presented here yet would be adopted.
    if (session === undefined || session === 'unstarted') return session === 'unstarted'
    // The decision of a rotation, by the clock of this host: `newest` is what a refresh would hand out.
    return 'newest' in decide(session, place.generation, clock(), sessionPolicy).verdict
  }
}

const blacklisted = (): KeyturnError =>
  new KeyturnError('FIELDS_INVALID', { fields: { non_field_errors: ['Token is blacklisted'] } })

/** The number of tokens verified before other requests get their turn: ten of ES256 take a millisecond (bench/results.md). */
const batchSize = 10

/**
 * The verdict of verify for each of several tokens, in their order, with the claims of the valid ones. Throws KeyturnError
 * STORE_DOWN.
 */
export const makeVerifyBatch = ({ verify }: { verify: Verify }) => {
  const verifyOne = async (token: string): Promise<Introspection> => {
    const verified = await unlessRefused(() => verify(token))
    return verified === undefined ? inactive : showClaims(verified.payload)
  }
  return async (tokens: readonly string[]): Promise<Introspection[]> => {
    const results: Introspection[] = []
    for (let first = 0; first < tokens.length; first += batchSize) {
      results.push(...(await Promise.all(tokens.slice(first, first + batchSize).map(verifyOne))))
      await setImmediate()
    }
    return results
  }
}

/**
 * The result of `work`; undefined if it refuses the token. Rejects if the state is unknown, for example because a store is
 * down.
 */
export async function unlessRefused<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof KeyturnError && error.status < 500) return undefined
    throw error
  }
}

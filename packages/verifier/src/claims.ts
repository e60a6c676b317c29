import { expired, invalid } from './errors.ts'

/** An accepted access token. Frozen, with everything in it: the same object is returned each time the token is verified. */
export interface Verified {
  /** The user; undefined for a token that a client has for itself. */
  readonly userId: string | undefined
  /** The login that the token descends from; undefined for a client's own token. */
  readonly sessionId: string | undefined
  readonly tokenId: string
  /** The client, where the token is its own (`client_credentials`). A client is not a user. */
  readonly clientId: string | undefined
  readonly scopes: readonly string[]
  /** Seconds since 1970. */
  readonly expiresAt: number
  /** All claims as they are in the token. */
  readonly claims: Readonly<Record<string, unknown>>
}

export interface ClaimRules {
  readonly issuer: string
  /** Empty: any audience is accepted. */
  readonly audience: readonly string[]
}

/** Tolerated clock difference in seconds for tokens that are not valid yet. */
const clockSkew = 5

/** The last second of the year 9999: beyond it many libraries have no date. Keyturn refuses such an `exp` too. */
const endOfTime = 253_402_300_799

/** Validates the claims of a token with a valid signature at `now`. Throws VerifierError `token_not_valid`. */
export function checkClaims(claims: Readonly<Record<string, unknown>>, now: number, rules: ClaimRules): Verified {
  const { exp, iat, nbf, iss, aud, jti, sid, scope, token_type } = claims
  if (!isTime(exp) || exp > endOfTime) throw invalid('exp is not a time')
  if (!isOptional(iat, isTime) || !isOptional(nbf, isTime)) throw invalid('iat or nbf is not a time')
  if (!isText(jti) || !isOptional(sid, isText)) throw invalid('jti or sid is not a text')
  if (iss !== rules.issuer) throw invalid('iss does not match the issuer')
  if (!isForUs(aud, rules.audience)) throw invalid('aud does not match the audience')
  if (token_type !== 'access') throw invalid('token_type is not access')
  if (nbf !== undefined && nbf > now + clockSkew) throw invalid('nbf is in the future')
  // RFC 7519 §4.1.4: rejected on the second of expiry, not after it.
  if (exp <= now) throw expired()
  const clientId = clientOf(claims)
  const userId = clientId === undefined ? userOf(claims) : undefined
  if (clientId === undefined && userId === undefined) throw invalid('neither user_id nor client_id')
  const scopes = isText(scope) ? scope.split(' ').filter((each) => each !== '') : []
  return deepFreeze({ userId, sessionId: sid, tokenId: jti, clientId, scopes, expiresAt: exp, claims })
}

/** A user's token may name a client too (RFC 9068 §2.2); it is the client's own only where the client is its subject. */
const clientOf = ({ client_id, sub }: Readonly<Record<string, unknown>>): string | undefined =>
  isText(client_id) && client_id === sub ? client_id : undefined

/** Simple JWT before 5.5.1 wrote numeric ids as numbers. */
const userOf = ({ user_id }: Readonly<Record<string, unknown>>): string | undefined =>
  isText(user_id) || Number.isSafeInteger(user_id) ? String(user_id) : undefined

const isForUs = (aud: unknown, audience: readonly string[]): boolean =>
  audience.length === 0 || [aud].flat().some((each) => isText(each) && audience.includes(each))

const isOptional = <T>(value: unknown, is: (value: unknown) => value is T): value is T | undefined =>
  value === undefined || is(value)
const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const each of Object.values(value)) deepFreeze(each)
  }
  return value
}

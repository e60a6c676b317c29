import { ownClientId } from '../clients/client.ts'
import { KeyturnError } from '../errors.ts'
import type { Payload } from './codec.ts'

/** Claims that were checked. Names are those on the wire (RFC 7519 §4.1; token_type, user_id: Simple JWT's). */
export interface Claims {
  readonly token_type: unknown
  readonly exp: number
  readonly iat: number | undefined
  readonly jti: string
  readonly user_id: string | undefined
  /** The session; absent in tokens that are not Keyturn's own. */
  readonly sid: string | undefined
  /** Place in the session's line; refresh tokens only. */
  readonly gen: number | undefined
  /** The client that a token of its own is for: it then has no user. */
  readonly client_id: string | undefined
  /** What the token may be used for, as one text (RFC 8693 §4.2). */
  readonly scope: string | undefined
}

/** What is demanded of a token, and written into one. */
export interface ClaimRules {
  /** Whole seconds of clock difference that `exp` and `nbf` allow. */
  readonly leeway: number
  readonly issuer: string | undefined
  readonly audience: readonly string[]
}

/** Claims of a deployment's own. */
export type CustomClaims = Readonly<Record<string, unknown>>

/** What custom claims may not be named: they would be believed to come from Keyturn. */
export const reservedClaims: ReadonlySet<string> = new Set([
  ...[
    'token_type',
    'exp',
    'iat',
    'nbf',
    'jti',
    'user_id',
    'sid',
    'gen',
    'sub',
    'iss',
    'aud',
    'client_id',
    'refresh_exp'
  ],
  // JSON and JavaScript differ in what this is.
  '__proto__'
])

/** The claims every token of ours begins with, in Simple JWT's order. */
export interface TokenFacts {
  readonly token_type: 'access' | 'refresh'
  readonly exp: number
  readonly iat: number
  readonly jti: string
  readonly user_id: string
  readonly sid: string
  readonly gen?: number
}

/** The claims of a client's own access token begin with these (RFC 9068 §2.2: `sub` is the client, where there is no user). */
export interface ClientTokenFacts {
  readonly token_type: 'access'
  readonly exp: number
  readonly iat: number
  readonly jti: string
  readonly sub: string
  readonly client_id: string
}

/** A token's claims: the facts, then what else is known of the user, then `aud` and `iss` where configured. */
export function buildClaims(
  facts: TokenFacts | ClientTokenFacts,
  { issuer, audience }: ClaimRules,
  more: CustomClaims = {}
): object {
  return {
    ...facts,
    ...more,
    ...(audience.length > 0 ? { aud: audience.length === 1 ? audience[0] : audience } : {}),
    ...(issuer === undefined ? {} : { iss: issuer })
  }
}

/**
 * Hosts' clocks differ by a little, and `iat` is rounded down to the second: a token from a host whose clock is ahead must
 * not be refused for it. PyJWT has no such allowance; it refuses such tokens now and then. Whole seconds.
 */
const issueSkew = 5

/**
 * The payload as claims, at `now`. Throws KeyturnError in the order in which Simple JWT finds the faults: a claim of the
 * wrong type or value is TOKEN_INVALID, then TOKEN_EXPIRED (`exp` equal to now is expired, RFC 7519 §4.1.4), then claims
 * that are missing.
 */
export function checkClaims(payload: Payload, now: number, rules: ClaimRules): Claims {
  const { exp, iat, nbf, jti, sub, iss, aud, token_type, user_id, sid, gen, scope } = payload
  const invalid = (detail: string) => new KeyturnError('TOKEN_INVALID', { detail })
  if (!isOptional(exp, isTime) || !isOptional(iat, isTime) || !isOptional(nbf, isTime))
    throw invalid('exp, iat or nbf is no time')
  if (!isOptional(jti, isText) || !isOptional(sub, isText) || !isOptional(iss, isText))
    throw invalid('jti, sub or iss is no text')
  if (!isOptional(aud, isAudience)) throw invalid('aud is no text and no list of texts')
  if (!isOptional(sid, isText) || !isOptional(gen, isGeneration)) throw invalid('sid or gen has the wrong type')
  if (!isOptional(user_id, isUserId)) throw invalid('user_id has the wrong type')
  if (nbf !== undefined && nbf > now + rules.leeway) throw invalid('nbf is in the future')
  if (iat !== undefined && iat > now + rules.leeway + issueSkew) throw invalid('iat is in the future')
  if (rules.issuer !== undefined && iss !== rules.issuer) throw invalid('iss is another')
  if (rules.audience.length > 0 && !isForUs(aud, rules.audience)) throw invalid('aud is another')
  if (exp !== undefined && exp <= now - rules.leeway) throw new KeyturnError('TOKEN_EXPIRED')
  if (exp === undefined) throw new KeyturnError('TOKEN_NO_EXPIRY')
  if (jti === undefined) throw new KeyturnError('TOKEN_NO_ID')
  const client_id = clientOf(payload)
  // Simple JWT before 5.5.1 wrote numeric user ids as numbers.
  const user = user_id === undefined || client_id !== undefined ? undefined : String(user_id)
  return { token_type, exp, iat, jti, user_id: user, sid, gen, client_id, scope: isText(scope) ? scope : undefined }
}

/** The client whose own token this is. A client is not a user, whatever else its token says. */
function clientOf({ client_id, sub }: Payload): string | undefined {
  return isText(client_id) && client_id !== ownClientId && client_id === sub ? client_id : undefined
}

/** Throws KeyturnError TOKEN_NO_TYPE or TOKEN_WRONG_TYPE unless the token is of `type`. */
export function demandType(claims: Claims, type: TokenFacts['token_type']): void {
  if (claims.token_type === undefined) throw new KeyturnError('TOKEN_NO_TYPE')
  if (claims.token_type !== type) throw new KeyturnError('TOKEN_WRONG_TYPE')
}

const isOptional = <T>(value: unknown, is: (value: unknown) => value is T): value is T | undefined =>
  value === undefined || is(value)
const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
const isText = (value: unknown): value is string => typeof value === 'string'
const isGeneration = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32 - 1
const isUserId = (value: unknown): value is string | number => isText(value) || Number.isSafeInteger(value)

const isAudience = (value: unknown): value is string | string[] => [value].flat().every(isText)

const isForUs = (aud: string | string[] | undefined, audience: readonly string[]): boolean =>
  [aud].flat().some((each) => each !== undefined && audience.includes(each))

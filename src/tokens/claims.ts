import { ownClientId } from '../clients/client.ts'
import { type ClaimNames, claimNames } from '../config/claim-names.ts'
import type { Config } from '../config/settings.ts'
import { KeyturnError } from '../errors.ts'
import type { CustomClaims } from '../hooks.ts'
import { passwordFingerprint } from '../passwords/fingerprint.ts'
import { endOfTime } from '../time.ts'
import type { User } from '../users/user.ts'
import { adoptionRules } from './adoption.ts'
import type { Payload } from './codec.ts'

/** Validated claims, under the names of RFC 7519 §4.1 and Simple JWT even if settings rename them in tokens. */
export interface Claims {
  readonly token_type: unknown
  readonly exp: number
  readonly iat: number | undefined
  /** Only with JTI_CLAIM=none, and only of others' tokens, undefined. */
  readonly jti: string | undefined
  readonly user_id: string | undefined
  /** The session; absent in tokens that are not Keyturn's own. */
  readonly sid: string | undefined
  /** Position in the session's chain of refresh tokens; refresh tokens only. */
  readonly gen: number | undefined
  /** Until when it may be refreshed; sliding tokens only. */
  readonly refresh_exp: number | undefined
  /** The fingerprint of a password; only compared. */
  readonly hash_password: unknown
  /** The client, for a client's own token, which has no user. */
  readonly client_id: string | undefined
  /** What the token may be used for, as one text (RFC 8693 §4.2). */
  readonly scope: string | undefined
}

/** What tokens must contain, and what is written into them. */
export interface ClaimRules {
  /** Whole seconds of clock difference that `exp` and `nbf` allow. */
  readonly leeway: number
  readonly issuer: string | undefined
  readonly audience: readonly string[]
  readonly profile: Config['tokenProfile']
  readonly names: ClaimNames
  /** Whether a token must have a type, and an id. */
  readonly demanded: { readonly type: boolean; readonly id: boolean }
  /** Whether tokens are bound to the password of their user: CHECK_REVOKE_TOKEN. */
  readonly bindsPassword: boolean
  /**
   * Until when a token of Simple JWT without a password fingerprint is accepted, in whole seconds since 1970; 0 is never. Only if
   * USERS_TABLE binds tokens to passwords, since Django's own need not be; CHECK_REVOKE_TOKEN=true requires it of all.
   */
  readonly unboundUntil: number
}

export const claimRules = (config: Config): ClaimRules => ({
  leeway: config.leeway,
  issuer: config.issuer,
  audience: config.audience,
  profile: config.tokenProfile,
  names: claimNames(config),
  demanded: { type: config.tokenTypeClaim !== 'none', id: config.jtiClaim !== 'none' },
  // A password change in Django does not end sessions by itself.
  bindsPassword: config.checkRevokeToken ?? config.usersTable !== undefined,
  unboundUntil:
    config.checkRevokeToken === undefined ? (adoptionRules(config)?.adoptedUntil ?? Number.POSITIVE_INFINITY) : 0
})

/** Names that custom claims may not have: other services trust that Keyturn sets these claims. */
export const reservedClaims = (names: ClaimNames): ReadonlySet<string> =>
  new Set([
    ...['exp', 'iat', 'nbf', 'sid', 'gen', 'sub', 'iss', 'aud', 'client_id'],
    ...Object.values(names),
    // JSON and JavaScript treat __proto__ differently.
    '__proto__'
  ])

export const noClaims: CustomClaims = Object.freeze({})

/** The claims of a token that are a deployment's own. */
export function customClaimsIn(payload: Payload, reserved: ReadonlySet<string>): CustomClaims {
  const names = Object.keys(payload).filter((name) => !reserved.has(name))
  return names.length === 0 ? noClaims : Object.fromEntries(names.map((name) => [name, payload[name]]))
}

/** What a token contains about its user. */
export type TokenUser = Pick<User, 'id' | 'passwordHash'>

/** The parts of every token of ours. */
export interface TokenFacts {
  readonly token_type: 'access' | 'refresh' | 'sliding'
  readonly exp: number
  readonly iat: number
  readonly jti: string
  readonly refresh_exp?: number
  readonly user: TokenUser
  readonly sid: string
  readonly gen?: number
}

/** The claims of a token, in Simple JWT's order: the standard ones, then custom ones, then `aud` and `iss` if configured. */
export function buildClaims(facts: TokenFacts, rules: ClaimRules, more: CustomClaims = {}): object {
  const { names } = rules
  const { token_type, exp, iat, jti, refresh_exp, user, sid, gen } = facts
  return {
    [names.token_type]: token_type,
    exp,
    iat,
    [names.jti]: jti,
    ...(refresh_exp === undefined ? {} : { [names.refresh_exp]: refresh_exp }),
    [names.user_id]: user.id,
    sid,
    ...(gen === undefined ? {} : { gen }),
    ...(rules.bindsPassword ? { [names.hash_password]: passwordFingerprint(user.passwordHash) } : {}),
    ...more,
    ...issuedBy(rules)
  }
}

/** The parts of a client's own access token. */
export interface ClientTokenFacts extends Pick<TokenFacts, 'exp' | 'iat' | 'jti'> {
  readonly clientId: string
  readonly scopes: readonly string[]
}

/** The claims of a client's own access token. RFC 9068 §2.2: without a user, `sub` is the client. */
export const buildClientClaims = (
  { exp, iat, jti, clientId, scopes }: ClientTokenFacts,
  rules: ClaimRules
): object => ({
  [rules.names.token_type]: 'access',
  exp,
  iat,
  [rules.names.jti]: jti,
  sub: clientId,
  client_id: clientId,
  ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
  ...issuedBy(rules)
})

const issuedBy = ({ audience, issuer }: ClaimRules): object => ({
  ...(audience.length > 0 ? { aud: audience.length === 1 ? audience[0] : audience } : {}),
  ...(issuer === undefined ? {} : { iss: issuer })
})

/**
 * Claims that other services expect: `sub` if there is an issuer, since services that check `iss` also read `sub`;
 * `client_id` by RFC 9068 §2.2.
 */
export const claimsForServices = (userId: string, { issuer, profile }: ClaimRules): CustomClaims => ({
  ...(issuer === undefined ? {} : { sub: userId }),
  ...(profile === 'rfc9068' ? { client_id: ownClientId } : {})
})

/**
 * How far `iat` may be in the future, in whole seconds: the clock of the issuing host may be slightly ahead. PyJWT has no
 * such allowance and sometimes refuses such tokens.
 */
const issueSkew = 5

/**
 * The payload as claims, at `now`. Throws KeyturnError in the order in which Simple JWT finds the faults: a claim of the
 * wrong type or value is TOKEN_INVALID, then TOKEN_EXPIRED (`exp` equal to now is expired, RFC 7519 §4.1.4), then claims
 * that are missing.
 */
export function checkClaims(payload: Payload, now: number, rules: ClaimRules): Claims {
  const { exp, iat, nbf, sub, iss, aud, sid, gen, scope } = payload
  const { names } = rules
  const { [names.token_type]: token_type, [names.jti]: jti, [names.user_id]: user_id } = payload
  const { [names.refresh_exp]: refresh_exp, [names.hash_password]: hash_password } = payload
  const invalid = (detail: string) => new KeyturnError('TOKEN_INVALID', { detail })
  if (!isOptional(exp, isExpiry) || !isOptional(iat, isTime) || !isOptional(nbf, isTime))
    throw invalid('exp, iat or nbf is not a time in seconds')
  if (!isOptional(jti, isId) || !isOptional(sub, isId) || !isOptional(iss, isText))
    throw invalid('jti, sub or iss is not a valid string')
  if (!isOptional(aud, isAudience)) throw invalid('aud is neither a string nor a list of strings')
  if (!isOptional(sid, isId) || !isOptional(gen, isGeneration)) throw invalid('sid or gen has the wrong type')
  if (!isOptional(user_id, isUserId)) throw invalid('user_id has the wrong type')
  if (token_type === 'sliding' && !isOptional(refresh_exp, isExpiry))
    throw invalid('refresh_exp is not a time in seconds')
  if (nbf !== undefined && nbf > now + rules.leeway) throw invalid('nbf is in the future')
  if (iat !== undefined && iat > now + rules.leeway + issueSkew) throw invalid('iat is in the future')
  if (rules.issuer !== undefined && iss !== rules.issuer) throw invalid('iss does not match ISSUER')
  if (rules.audience.length > 0 && !isForUs(aud, rules.audience)) throw invalid('aud does not match AUDIENCE')
  if (exp !== undefined && exp <= now - rules.leeway) throw new KeyturnError('TOKEN_EXPIRED')
  if (exp === undefined) throw new KeyturnError('TOKEN_NO_EXPIRY')
  if (jti === undefined && rules.demanded.id) throw new KeyturnError('TOKEN_NO_ID')
  const client_id = clientOf(payload)
  return {
    token_type,
    exp,
    iat,
    jti,
    // Simple JWT before 5.5.1 wrote numeric ids as numbers.
    user_id: user_id === undefined || client_id !== undefined ? undefined : String(user_id),
    sid,
    gen,
    refresh_exp: isTime(refresh_exp) ? refresh_exp : undefined,
    hash_password,
    client_id,
    scope: isText(scope) ? scope : undefined
  }
}

/** The client whose own token this is. A client is not a user, whatever else its token says. */
function clientOf({ client_id, sub }: Payload): string | undefined {
  return isText(client_id) && client_id !== ownClientId && client_id === sub ? client_id : undefined
}

export type TokenType = TokenFacts['token_type']

/** Whether the token counts as one of `type`. */
export function isOfType({ token_type, gen, refresh_exp }: Claims, type: TokenType, { demanded }: ClaimRules): boolean {
  if (token_type !== undefined || demanded.type) return token_type === type
  // Our refresh and sliding tokens have these; one without a type was issued while TOKEN_TYPE_CLAIM had another value.
  return gen === undefined && refresh_exp === undefined
}

/** Throws KeyturnError TOKEN_NO_TYPE or TOKEN_WRONG_TYPE unless the token is of `type`. */
export function demandType(claims: Claims, type: TokenType, rules: ClaimRules): void {
  if (isOfType(claims, type, rules)) return
  throw new KeyturnError(claims.token_type === undefined ? 'TOKEN_NO_TYPE' : 'TOKEN_WRONG_TYPE')
}

/**
 * Whether a token is accepted at `now`, while its user's password has this fingerprint: any is, unless tokens are bound to
 * passwords.
 */
export const isUnderPassword = (
  { hash_password, sid }: Claims,
  fingerprint: string,
  { bindsPassword, unboundUntil }: ClaimRules,
  now: number
): boolean =>
  !bindsPassword ||
  hash_password === fingerprint ||
  (hash_password === undefined && sid === undefined && now <= unboundUntil)

const isOptional = <T>(value: unknown, is: (value: unknown) => value is T): value is T | undefined =>
  value === undefined || is(value)
const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
/** Simple JWT makes it a date, and fails beyond the last one. It compares `iat` and `nbf` as numbers. */
const isExpiry = (value: unknown): value is number => isTime(value) && value <= endOfTime
const isText = (value: unknown): value is string => typeof value === 'string'
/** A text that every store can hold: PostgreSQL has no NUL, and UTF-8 no half of a surrogate pair. */
const isId = (value: unknown): value is string => isText(value) && !value.includes('\0') && value.isWellFormed()
const isGeneration = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32 - 1
const isUserId = (value: unknown): value is string | number => isId(value) || Number.isSafeInteger(value)

const isAudience = (value: unknown): value is string | string[] => [value].flat().every(isText)

const isForUs = (aud: string | string[] | undefined, audience: readonly string[]): boolean =>
  [aud].flat().some((each) => each !== undefined && audience.includes(each))

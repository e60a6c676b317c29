import { parseScope } from '../clients/scope.ts'
import { KeyturnError } from '../errors.ts'
import { type Claims, checkClaims, demandType, isUnderPassword } from '../tokens/claims.ts'
import type { RecentUser, RecentUsers } from '../users/recent.ts'
import { makeFindSession, makeIsBlacklisted } from './adopt.ts'
import type { Parts } from './parts.ts'

/** The sender of a request, by its token. */
export interface Caller {
  readonly userId: string
  /** The session of the token; undefined for a token that is not Keyturn's own. */
  readonly sid: string | undefined
  readonly username: string
  /** What the token may be used for: empty when it has no valid scope. */
  readonly scopes: readonly string[]
  /** The end of the token, in whole seconds since 1970. */
  readonly expiresAt: number
}

/** A kind of token that authenticates its bearer, with its names in error messages. */
interface TokenClass {
  readonly token_class: string
  readonly token_type: 'access' | 'sliding'
  /** Whether the token was revoked. */
  readonly isRevoked: (claims: Claims) => boolean | Promise<boolean>
}

/**
 * The user that a token of these claims lets in, whichever kind it is. As Simple JWT's JWTAuthentication.get_user. Throws
 * KeyturnError BEARER_NO_USER for one without a user, BEARER_USER_GONE, BEARER_USER_INACTIVE and BEARER_PASSWORD_CHANGED after
 * asking for that one.
 */
export const makeFindBearer =
  ({ rules, checkUserIsActive, clock }: Pick<Parts, 'rules' | 'checkUserIsActive' | 'clock'>, users: RecentUsers) =>
  async (claims: Claims): Promise<RecentUser> => {
    if (claims.user_id === undefined) throw new KeyturnError('BEARER_NO_USER')
    const user = await users.findById(claims.user_id, rules.bindsPassword ? claims.hash_password : undefined)
    if (user === undefined) throw new KeyturnError('BEARER_USER_GONE')
    if (checkUserIsActive && !user.isActive) throw new KeyturnError('BEARER_USER_INACTIVE')
    if (!isUnderPassword(claims, user.passwordFingerprint, rules, clock()))
      throw new KeyturnError('BEARER_PASSWORD_CHANGED')
    return user
  }

/**
 * Who a token speaks for: an access token or, with SLIDING_TOKENS, a sliding one. As Simple JWT's JWTAuthentication with both in
 * AUTH_TOKEN_CLASSES. Throws KeyturnError BEARER_INVALID for a token that is neither, and as makeFindBearer says.
 */
export const makeAuthenticate = (parts: Parts, users: RecentUsers) => {
  const { codec, rules, clock } = parts
  const classes = tokenClasses(parts)
  const findBearer = makeFindBearer(parts, users)
  return async (token: string): Promise<Caller> => {
    const claims = await readAny(token)
    const { id: userId, username } = await findBearer(claims)
    const { sid, scope = '', exp: expiresAt } = claims
    return { userId, sid, username, scopes: scope === '' ? [] : (parseScope(scope) ?? []), expiresAt }
  }

  /** The claims of a token that is good in one of the classes; each of the others has its message in the refusal. */
  async function readAny(token: string): Promise<Claims> {
    const messages = []
    let cause: unknown
    for (const { token_class, token_type, isRevoked } of classes) {
      try {
        const claims = checkClaims(codec.read(token), clock(), rules)
        demandType(claims, token_type, rules)
        if (await isRevoked(claims)) throw new KeyturnError('TOKEN_REVOKED')
        return claims
      } catch (error) {
        if (!(error instanceof KeyturnError) || error.status !== 401) throw error
        const { detail: message } = error.body as { detail: string }
        messages.push({ token_class, token_type, message })
        cause = error
      }
    }
    throw new KeyturnError('BEARER_INVALID', { cause, more: { messages } })
  }
}

function tokenClasses({ sliding, slidingTokens, ...parts }: Parts): readonly TokenClass[] {
  const { revocations } = parts
  const isBlacklisted = makeIsBlacklisted(parts)
  const findSession = makeFindSession(parts)
  const access: TokenClass = {
    token_class: 'AccessToken',
    token_type: 'access',
    isRevoked: (claims) => revocations.has(claims)
  }
  const slidingOne: TokenClass = {
    token_class: 'SlidingToken',
    token_type: 'sliding',
    // It may live for days, longer than a worker remembers revocations: the store has its session.
    async isRevoked(claims) {
      const place = sliding.placeOf(claims)
      if (await isBlacklisted(claims)) return true
      return place === undefined ? revocations.has(claims) : (await findSession(place)) === undefined
    }
  }
  return slidingTokens ? [access, slidingOne] : [access]
}

/** What forward-auth answers a proxy. */
export interface Pass {
  readonly caller: Caller
  /** How long the token is valid, in whole seconds. */
  readonly secondsLeft: number
}

/**
 * Whom a proxy may let through: every caller that Keyturn's own endpoints would let in, by the user as of a few seconds ago. A
 * client is not a user and is not let through. Throws as makeAuthenticate says, and KeyturnError SCOPE_MISSING unless the token
 * has every scope of `required`.
 */
export const makeForwardAuth = (parts: Parts) => {
  const authenticate = makeAuthenticate(parts, parts.recentUsers)
  return async (token: string, required: readonly string[]): Promise<Pass> => {
    const caller = await authenticate(token)
    if (!required.every((scope) => caller.scopes.includes(scope))) throw new KeyturnError('SCOPE_MISSING')
    return { caller, secondsLeft: Math.floor(caller.expiresAt) - parts.clock() }
  }
}

import { parseScope } from '../clients/scope.ts'
import { KeyturnError } from '../errors.ts'
import { type Claims, checkClaims, demandType, isUnderPassword } from '../tokens/claims.ts'
import type { RecentUser, RecentUsers } from '../users/recent.ts'
import type { User } from '../users/user.ts'
import { makeFindSession, makeIsBlacklisted } from './adopt.ts'
import type { Parts } from './parts.ts'

/** The sender of a request, as its token identifies it. */
export interface Caller {
  readonly userId: string
  /** The session of the token; undefined for a token that is not Keyturn's own. */
  readonly sid: string | undefined
  readonly username: string
  /** The scopes of the token; empty if it has no valid `scope` claim. */
  readonly scopes: readonly string[]
  /** The `exp` of the token, in whole seconds since 1970. */
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
 * Finds the user whom a token with these claims authenticates, whatever its kind, like Simple JWT's JWTAuthentication.get_user.
 * Throws KeyturnError BEARER_NO_USER if the claims have no user, and BEARER_USER_GONE, BEARER_USER_INACTIVE or
 * BEARER_PASSWORD_CHANGED after the lookup.
 */
export const makeFindBearer =
  <Found extends RecentUser>(
    { rules, checkUserIsActive, clock }: Pick<Parts, 'rules' | 'checkUserIsActive' | 'clock'>,
    users: RecentUsers<Found>
  ) =>
  async (claims: Claims): Promise<Found> => {
    if (claims.user_id === undefined) throw new KeyturnError('BEARER_NO_USER')
    const user = await users.findById(claims.user_id, rules.bindsPassword ? claims.hash_password : undefined)
    if (user === undefined) throw new KeyturnError('BEARER_USER_GONE')
    if (checkUserIsActive && !user.isActive) throw new KeyturnError('BEARER_USER_INACTIVE')
    if (!isUnderPassword(claims, user.passwordFingerprint, rules, clock()))
      throw new KeyturnError('BEARER_PASSWORD_CHANGED')
    return user
  }

/** The caller, and the user as it was found. */
export interface Bearer<Found extends RecentUser = RecentUser> {
  readonly caller: Caller
  readonly user: Found
}

/** The caller alone, as makeIdentify returns it. */
export const makeAuthenticate = (parts: Parts, users: RecentUsers) => {
  const identify = makeIdentify(parts, users)
  return async (token: string): Promise<Caller> => (await identify(token)).caller
}

/**
 * Identifies the caller by an access token or, with SLIDING_TOKENS, a sliding one, like Simple JWT's JWTAuthentication with
 * both in AUTH_TOKEN_CLASSES. Throws KeyturnError BEARER_INVALID for a token that is neither, and the errors of makeFindBearer.
 */
export const makeIdentify = <Found extends RecentUser>(parts: Parts, users: RecentUsers<Found>) => {
  const { codec, rules, clock } = parts
  const classes = tokenClasses(parts)
  const findBearer = makeFindBearer(parts, users)
  return async (token: string): Promise<Bearer<Found>> => {
    const claims = await readAny(token)
    const user = await findBearer(claims)
    const { sid, scope = '', exp: expiresAt } = claims
    const scopes = scope === '' ? [] : (parseScope(scope) ?? [])
    return { caller: { userId: user.id, sid, username: user.username, scopes, expiresAt }, user }
  }

  /** The claims of a token that is valid for one of the classes. If it is valid for none, the refusal has a message for each. */
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

/**
 * Checks a caller again after a slow step: meanwhile, the session may have ended, or the user been deactivated or deleted. Throws
 * KeyturnError BEARER_USER_GONE, BEARER_USER_INACTIVE and, unless the password differs from that of `known`, BEARER_INVALID.
 *
 * A new password is stored before it ends sessions. The session is read first, so if it was ended by a new password, that one is
 * seen.
 */
export const makeRecheckCaller =
  ({ users, sessions, checkUserIsActive }: Pick<Parts, 'users' | 'sessions' | 'checkUserIsActive'>) =>
  async ({ userId, sid }: Pick<Caller, 'userId' | 'sid'>, known: User): Promise<void> => {
    const isLive = sid === undefined || (await sessions.find(userId, sid)) !== undefined
    const user = await users.findById(userId)
    if (user === undefined) throw new KeyturnError('BEARER_USER_GONE')
    if (checkUserIsActive && !user.isActive) throw new KeyturnError('BEARER_USER_INACTIVE')
    if (!isLive && user.passwordHash === known.passwordHash)
      throw new KeyturnError('BEARER_INVALID', { detail: 'the session has ended meanwhile' })
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
    // It may be valid for days, longer than a worker keeps revocations, so its session is looked up in the store.
    async isRevoked(claims) {
      const place = sliding.placeOf(claims)
      if (await isBlacklisted(claims)) return true
      return place === undefined ? revocations.has(claims) : (await findSession(place)) === undefined
    }
  }
  return slidingTokens ? [access, slidingOne] : [access]
}

/** The answer of forward-auth to a proxy. */
export interface Pass {
  readonly caller: Caller
  /** How long the token is valid, in whole seconds. */
  readonly secondsLeft: number
}

/**
 * Decides whether a proxy may let a request pass: it may for every caller whom Keyturn's own endpoints would accept, with the
 * user as of a few seconds ago. A client is not a user and is refused. Throws the errors of makeAuthenticate, and KeyturnError
 * SCOPE_MISSING unless the token has every scope of `required`.
 */
export const makeForwardAuth = (parts: Parts) => {
  const authenticate = makeAuthenticate(parts, parts.recentUsers)
  return async (token: string, required: readonly string[]): Promise<Pass> => {
    const caller = await authenticate(token)
    if (!required.every((scope) => caller.scopes.includes(scope))) throw new KeyturnError('SCOPE_MISSING')
    return { caller, secondsLeft: Math.floor(caller.expiresAt) - parts.clock() }
  }
}

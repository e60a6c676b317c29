import type { CustomClaims, SessionDevice } from '../hooks.ts'
import { KeyturnError } from '../errors.ts'
import { passwordFingerprint } from '../passwords/fingerprint.ts'
import type { RotationVerdict } from '../sessions/rotation.ts'
import type { Generation } from '../sessions/session.ts'
import { isUnderPassword } from '../tokens/claims.ts'
import type { PresentedToken } from '../tokens/adopted.ts'
import { isUnchanged, type User } from '../users/user.ts'
import type { Adopt } from './adopt.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/**
 * The user for whom a token may be refreshed. Throws KeyturnError USER_GONE when the user is deleted or may not log in,
 * PASSWORD_CHANGED if the token was issued under another password. Changes nothing.
 */
export type FindHolder = (presented: Omit<PresentedToken, 'generation'>) => Promise<User>

export const makeFindHolder =
  ({ users, hooks, rules, clock }: Parts): FindHolder =>
  async ({ userId, sid, claims }) => {
    const user = await users.findById(userId)
    if (user === undefined || !(await hooks.mayAuthenticate(user))) throw new KeyturnError('USER_GONE', { userId, sid })
    // The fingerprint is only computed if it is needed, since it is a hash.
    if (!rules.bindsPassword || isUnderPassword(claims, passwordFingerprint(user.passwordHash), rules, clock()))
      return user
    throw new KeyturnError('PASSWORD_CHANGED', { userId, sid })
  }

/** The result of a refresh. Without rotation, it has no refresh token. */
export interface Refreshed {
  readonly access: string
  /** How long the access token is valid, in whole seconds. */
  readonly expiresIn: number
  readonly refresh?: string
  readonly outcome: Outcome
}

/**
 * Exchanges a refresh token for an access token and, unless rotation is off, the newest refresh token; and a sliding token for
 * a later one.
 *
 * The user is looked up, and the claims are computed, before the rotation and not concurrently. If the database fails at that
 * point, the client loses nothing, while a rotation whose response was lost would count as theft after the grace.
 */
export const makeRefresh = (parts: Parts, { adopt, findHolder }: { adopt: Adopt; findHolder: FindHolder }) => {
  const { sessions, access, refresh, sliding, sessionPolicy } = parts
  const prepare = makePrepare(parts, findHolder)
  const reportIfSuspicious = makeReport(parts)

  return {
    /**
     * Like Simple JWT's TokenRefreshView. Throws KeyturnError TOKEN_* for an invalid token, TOKEN_REVOKED, TOKEN_REUSED, and
     * the errors of FindHolder.
     */
    async refresh(token: string, device: SessionDevice): Promise<Refreshed> {
      const presented = refresh.read(token)
      const { user, custom } = await prepare(presented)
      await adopt(presented, device)
      const verdict = await sessions.rotate(presented)
      const loginIp = await reportIfSuspicious(user, presented, verdict, device)
      const { newest, outcome } = accept(presented, verdict)
      const { sid } = presented
      const session = { sid, expiresAt: newest.expiresAt }
      return {
        access: access.issue(user, session, custom),
        expiresIn: access.lifetimeIn(session),
        ...(sessionPolicy.rotate ? { refresh: refresh.issue(user, sid, newest, presented.carried) } : {}),
        outcome: loginIp === undefined ? outcome : { ...outcome, login_ip: loginIp }
      }
    },

    /**
     * Like Simple JWT's TokenRefreshSlidingView. Throws KeyturnError TOKEN_* for a token that is invalid or has reached its
     * `refresh_exp`, TOKEN_REVOKED, and the errors of FindHolder.
     */
    async refreshSliding(
      token: string,
      device: SessionDevice
    ): Promise<{ readonly token: string; readonly outcome: Outcome }> {
      const presented = sliding.read(token)
      const { user, custom } = await prepare(presented)
      sliding.demandRefreshable(presented.claims)
      await adopt(presented, device)
      const { newest, outcome } = accept(presented, await sessions.rotate(presented, false))
      const session = { sid: presented.sid, expiresAt: newest.expiresAt }
      return { token: sliding.issue(user, session, custom, presented.claims), outcome }
    }
  }
}

function makePrepare({ users, sessions, hooks }: Parts, findHolder: FindHolder) {
  /**
   * The user, and the claims of the next tokens. Keyturn's own changes of a user end the sessions, which the rotation sees. A
   * change that another program makes in the table does not, so after hooks, which take up to seconds, the user is read again.
   */
  const prepare = async (presented: PresentedToken): Promise<{ user: User; custom: CustomClaims }> => {
    const { userId, sid } = presented
    const user = await findHolder(presented).catch((error) => endIfPasswordChanged(error, presented))
    const custom = await hooks.claims(user, { grant: 'refresh', sid }, presented.carried)
    if (!hooks.delayRefresh || isUnchanged(user, await users.findById(userId))) return { user, custom }
    return await prepare(presented)
  }

  /**
   * Rethrows the error. The session of a token that was issued under another password ends, since Simple JWT blacklists such a
   * token; presenting it again is TOKEN_REVOKED.
   */
  const endIfPasswordChanged = async (error: unknown, { userId, sid, foreign }: PresentedToken): Promise<never> => {
    if (error instanceof KeyturnError && error.code === 'PASSWORD_CHANGED') {
      const hasEnded = await sessions.revoke(userId, sid)
      // A token of another issuer may not have become a session yet.
      if (!hasEnded && foreign === undefined) throw new KeyturnError('TOKEN_REVOKED', { userId, sid })
    }
    throw error
  }

  return prepare
}

/**
 * Calls the hook for a late retry or a reuse, either of which may be a thief's. Returns the address of the login of a late
 * retry, for the audit trail: an address that has changed makes theft more likely.
 */
const makeReport =
  ({ sessions, hooks }: Parts) =>
  async (
    user: User,
    { userId, sid }: PresentedToken,
    { kind: verdict }: RotationVerdict,
    { ip, userAgent }: SessionDevice
  ): Promise<string | undefined> => {
    if (verdict !== 'late' && verdict !== 'reused') return undefined
    const session = verdict === 'late' ? await sessions.find(userId, sid) : undefined
    const loginIp = session?.device.ip
    await hooks.onRefreshVerdict(user, { sid, verdict, loginIp, ip, userAgent })
    return loginIp
  }

/** The generation that a rotation issues, and its outcome. Throws KeyturnError TOKEN_REVOKED and TOKEN_REUSED if it issues none. */
function accept(
  { userId, sid }: PresentedToken,
  verdict: RotationVerdict
): { readonly newest: Generation; readonly outcome: Outcome } {
  const { kind } = verdict
  if ('newest' in verdict) return { newest: verdict.newest, outcome: { user_id: userId, sid, verdict: kind } }
  throw new KeyturnError(kind === 'reused' ? 'TOKEN_REUSED' : 'TOKEN_REVOKED', { userId, sid, verdict: kind })
}

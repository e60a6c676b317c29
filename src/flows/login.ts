import type { Credentials, CustomClaims, SessionDevice } from '../hooks.ts'
import { KeyturnError } from '../errors.ts'
import { clientGone } from '../passwords/queue.ts'
import { newestGeneration, type Session } from '../sessions/session.ts'
import type { User } from '../users/user.ts'
import { makeCheckCredentials, makeRecheckCredentials } from './credentials.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import { makeProveSession } from './session-proof.ts'

/** The device of a login, and what it sends beside the credentials. */
export interface LoginDevice extends SessionDevice {
  /** A token of ours: a client that has a session of this user is a trusted source. */
  readonly token?: string | undefined
  /** Aborted when the client has closed the connection. */
  readonly signal?: AbortSignal
}

/** What a login has started, for its tokens. */
interface Login {
  readonly user: User
  readonly session: Session
  readonly custom: CustomClaims
  readonly outcome: Outcome
}

/** A username and a password for a new session; `lifetime` as SessionStore.start has it. */
export type LogIn = (credentials: Credentials, device: LoginDevice, lifetime?: number) => Promise<Login>

/**
 * Throws KeyturnError LOGIN_FAILED, the errors of makeCheckCredentials and TryPassword, and CLAIMS_FAILED before a session
 * starts.
 *
 * The credentials are checked again once the session has started. What changes a user writes the change first and then ends
 * all sessions, so one of the two sees the other, in whatever order they run.
 */
export const makeLogIn = (parts: Parts): LogIn => {
  const { users, sessions, hooks, updateLastLogin, tryPassword } = parts
  const checkCredentials = makeCheckCredentials(parts)
  const recheckCredentials = makeRecheckCredentials(parts)
  const proveSession = makeProveSession(parts)
  return async (credentials, { token, signal, ...device }, lifetime) => {
    const { username } = credentials
    const sid = await proveSession(token, username)
    const refuse = async (userId: string | undefined): Promise<never> => {
      await hooks.onLoginFailed(credentials, device)
      throw new KeyturnError('LOGIN_FAILED', { userId })
    }
    const checked = await tryPassword({ username, ip: device.ip, sid }, (chargeUser) =>
      checkCredentials(credentials, signal, chargeUser)
    )
    if (!checked.isRight) return await refuse(checked.userId)
    const { user, outcome } = checked
    // If the client has disconnected, the session would remain without a client that knows of it.
    if (signal?.aborted) throw clientGone()
    const custom = await hooks.claims(user, { grant: 'login', sid: undefined })
    // Before the session, so that a failure here leaves none behind.
    if (updateLastLogin) await users.recordLogin(user.id)
    const { session } = await sessions.start(user.id, device, lifetime)
    let current: User | undefined
    try {
      current = await recheckCredentials(user, credentials.password, signal)
    } finally {
      if (current === undefined) await sessions.revoke(user.id, session.sid)
    }
    if (current === undefined) return await refuse(user.id)
    await hooks.onLoginSuccess(current, { sid: session.sid, ...device })
    return { user: current, session, custom, outcome: { ...outcome, sid: session.sid } }
  }
}

/** Issues the tokens of a new session. Throws the errors of makeLogIn. */
export const makeObtain = ({ access, refresh, sliding }: Parts, { logIn }: { logIn: LogIn }) => ({
  /** An access and a refresh token. As Simple JWT's TokenObtainPairView. */
  async obtain(
    credentials: Credentials,
    device: LoginDevice
  ): Promise<{ access: string; refresh: string; outcome: Outcome }> {
    const { user, session, custom, outcome } = await logIn(credentials, device)
    return {
      refresh: refresh.issue(user, session.sid, newestGeneration(session)),
      access: access.issue(user, session, custom),
      outcome
    }
  },

  /** A sliding token. As Simple JWT's TokenObtainSlidingView. */
  async obtainSliding(credentials: Credentials, device: LoginDevice): Promise<{ token: string; outcome: Outcome }> {
    const { user, session, custom, outcome } = await logIn(credentials, device, sliding.sessionLifetime)
    return { token: sliding.issue(user, session, custom), outcome }
  }
})

import { KeyturnError } from '../errors.ts'
import { clientGone } from '../passwords/queue.ts'
import { newestGeneration, type Session, type SessionClient } from '../sessions/session.ts'
import type { CustomClaims } from '../tokens/claims.ts'
import type { User } from '../users/user.ts'
import { type Credentials, makeCheckCredentials, makeRecheckCredentials } from './credentials.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import { makeProveSession } from './session-proof.ts'

/** Who wants to log in, beside the credentials. */
export interface LoginClient extends SessionClient {
  /** A token of ours that came with them: whoever has a session of this user is no stranger. */
  readonly token?: string | undefined
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal
}

/** What a login has started, to make tokens of. */
interface Login {
  readonly user: User
  readonly session: Session
  readonly custom: CustomClaims
  readonly outcome: Outcome
}

/**
 * A username and a password for the tokens of a new session. Throws KeyturnError LOGIN_FAILED, as makeCheckCredentials and TryPassword say, and CLAIMS_FAILED before a
 * session starts.
 *
 * The credentials are checked again once the session has started. Whoever changes a user writes the change first and ends all
 * sessions then, so one of the two sees the other, in whatever order they run.
 */
export const makeLogin = (parts: Parts) => {
  const { users, sessions, access, refresh, sliding, hooks, updateLastLogin, tryPassword } = parts
  const checkCredentials = makeCheckCredentials(parts)
  const recheckCredentials = makeRecheckCredentials(parts)
  const proveSession = makeProveSession(parts)

  /** `lifetime` as SessionStore.start has it. */
  const logIn = async (
    credentials: Credentials,
    { token, signal, ...client }: LoginClient,
    lifetime?: number
  ): Promise<Login> => {
    const { username } = credentials
    const sid = await proveSession(token, username)
    const refuse = async (userId: string | undefined): Promise<never> => {
      await hooks.onLoginFailed(credentials, client)
      throw new KeyturnError('LOGIN_FAILED', { userId })
    }
    const checked = await tryPassword({ username, ip: client.ip, sid }, (chargeUser) =>
      checkCredentials(credentials, signal, chargeUser)
    )
    if (!checked.isRight) return await refuse(checked.userId)
    const { user, outcome } = checked
    // Whoever does not wait for the tokens has no use for a session either, and nobody would know of it.
    if (signal?.aborted) throw clientGone()
    const custom = await hooks.claims(user, { grant: 'login', sid: undefined })
    // Before the session, so that one which fails here leaves none behind.
    if (updateLastLogin) await users.recordLogin(user.id)
    const { session } = await sessions.start(user.id, client, lifetime)
    let current: User | undefined
    try {
      current = await recheckCredentials(user, credentials.password, signal)
    } finally {
      if (current === undefined) await sessions.revoke(user.id, session.sid)
    }
    if (current === undefined) return await refuse(user.id)
    await hooks.onLoginSuccess(current, { sid: session.sid, ...client })
    return { user: current, session, custom, outcome: { ...outcome, sid: session.sid } }
  }

  return {
    /** An access and a refresh token. As Simple JWT's TokenObtainPairView. */
    async obtain(
      credentials: Credentials,
      client: LoginClient
    ): Promise<{ access: string; refresh: string; outcome: Outcome }> {
      const { user, session, custom, outcome } = await logIn(credentials, client)
      return {
        refresh: refresh.issue(user, session.sid, newestGeneration(session)),
        access: access.issue(user, session.sid, custom),
        outcome
      }
    },

    /** A sliding token. As Simple JWT's TokenObtainSlidingView. */
    async obtainSliding(credentials: Credentials, client: LoginClient): Promise<{ token: string; outcome: Outcome }> {
      const { user, session, custom, outcome } = await logIn(credentials, client, sliding.sessionLifetime)
      return { token: sliding.issue(user, session, custom), outcome }
    }
  }
}

import { KeyturnError } from '../errors.ts'
import type { Session, SessionClient } from '../sessions/session.ts'
import type { CustomClaims } from '../tokens/claims.ts'
import type { User } from '../users/user.ts'
import { type Credentials, makeCheckCredentials } from './credentials.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/** What a login has started, for whoever makes its tokens. */
export interface Login {
  readonly user: User
  readonly session: Session
  readonly custom: CustomClaims
  readonly outcome: Outcome
}

/**
 * What all kinds of login have in common: a username and a password for a new session; `lifetime` as SessionStore.start has it.
 * Throws as makeCheckCredentials says, and KeyturnError CLAIMS_FAILED before a session starts.
 */
export const makeLogIn = (parts: Parts) => {
  const { users, sessions, hooks, updateLastLogin } = parts
  const checkCredentials = makeCheckCredentials(parts)
  return async (credentials: Credentials, client: SessionClient, lifetime?: number): Promise<Login> => {
    const { user, outcome } = await checkCredentials(credentials).catch(async (error) => {
      if (error instanceof KeyturnError && error.code === 'LOGIN_FAILED') await hooks.onLoginFailed(credentials, client)
      throw error
    })
    const custom = await hooks.claims(user, { grant: 'login', sid: undefined })
    // Before the session, so that one which fails here leaves none behind.
    if (updateLastLogin) await users.recordLogin(user.id)
    const { session } = await sessions.start(user.id, client, lifetime)
    await hooks.onLoginSuccess(user, { sid: session.sid, ...client })
    return { user, session, custom, outcome: { ...outcome, sid: session.sid } }
  }
}

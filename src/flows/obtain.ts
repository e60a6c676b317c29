import { newestGeneration, type SessionClient } from '../sessions/session.ts'
import { type Credentials, makeCheckCredentials } from './credentials.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/**
 * A username and a password for an access and a refresh token of a new session. As Simple JWT's TokenObtainPairView.
 * Throws as makeCheckCredentials says, and KeyturnError CLAIMS_FAILED before a session starts.
 */
export const makeObtain = (parts: Parts) => {
  const { sessions, access, refresh, claimsOf } = parts
  const checkCredentials = makeCheckCredentials(parts)
  return async (
    credentials: Credentials,
    client: SessionClient
  ): Promise<{ access: string; refresh: string; outcome: Outcome }> => {
    const { user, outcome } = await checkCredentials(credentials)
    const custom = await claimsOf(user, { grant: 'login', sid: undefined })
    const { session } = await sessions.start(user.id, client)
    return {
      refresh: refresh.issue(user.id, session.sid, newestGeneration(session)),
      access: access.issue(user.id, session.sid, custom),
      outcome: { ...outcome, sid: session.sid }
    }
  }
}

import { newestGeneration } from '../sessions/session.ts'
import type { Credentials } from './credentials.ts'
import { type LoginClient, makeLogIn } from './login.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/**
 * A username and a password for an access and a refresh token of a new session. As Simple JWT's TokenObtainPairView. Throws as
 * makeLogIn says.
 */
export const makeObtain = (parts: Parts) => {
  const { access, refresh } = parts
  const logIn = makeLogIn(parts)
  return async (
    credentials: Credentials,
    client: LoginClient
  ): Promise<{ access: string; refresh: string; outcome: Outcome }> => {
    const { user, session, custom, outcome } = await logIn(credentials, client)
    return {
      refresh: refresh.issue(user, session.sid, newestGeneration(session)),
      access: access.issue(user, session.sid, custom),
      outcome
    }
  }
}

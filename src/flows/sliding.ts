import { KeyturnError } from '../errors.ts'
import type { Credentials } from './credentials.ts'
import { makeFindRefresher } from './holder.ts'
import { type LoginClient, makeLogIn } from './login.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/** As a RefreshResult: a refusal has an outcome too. */
export type SlidingResult =
  | { readonly token: string; readonly outcome: Outcome }
  | { readonly refusal: KeyturnError; readonly outcome: Outcome }

/** What can be done with sliding tokens alone: src/tokens/sliding.ts says what they are. */
export const makeSliding = (parts: Parts) => {
  const { sliding, sessions } = parts
  const logIn = makeLogIn(parts)
  const findRefresher = makeFindRefresher(parts)
  return {
    /**
     * A username and a password for a sliding token of a new session. As Simple JWT's TokenObtainSlidingView. Throws as
     * makeLogIn says.
     */
    async obtain(credentials: Credentials, client: LoginClient): Promise<{ token: string; outcome: Outcome }> {
      const { user, session, custom, outcome } = await logIn(credentials, client, sliding.sessionLifetime)
      return { token: sliding.issue(user, session, custom), outcome }
    },

    /**
     * A sliding token for a later one. As Simple JWT's TokenRefreshSlidingView. Throws KeyturnError TOKEN_* for a token that
     * cannot be read or has come to its `refresh_exp`; refuses with TOKEN_REVOKED, and as makeFindRefresher says.
     */
    async refresh(token: string): Promise<SlidingResult> {
      const presented = sliding.read(token)
      const { userId, sid, claims } = presented
      const refresher = await findRefresher(presented)
      if ('refusal' in refresher) return { ...refresher, outcome: { user_id: userId, sid } }
      const { user, custom } = refresher
      const refreshExp = sliding.refreshExpOf(claims)
      const verdict = await sessions.rotate(presented, false)
      const outcome: Outcome = { user_id: userId, sid, verdict: verdict.kind }
      if (!('newest' in verdict)) return { refusal: new KeyturnError('TOKEN_REVOKED'), outcome }
      const session = { sid, expiresAt: verdict.newest.expiresAt }
      return { token: sliding.issue(user, session, custom, refreshExp), outcome }
    }
  }
}

import { KeyturnError } from '../errors.ts'
import type { SessionClient } from '../sessions/session.ts'
import { makeAdopt } from './adopt.ts'
import { makeFindRefresher } from './holder.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

/** A refresh either hands out tokens or refuses; both have an outcome that must be told, so a refusal is a value here. */
export type RefreshResult =
  | { readonly access: string; readonly refresh?: string; readonly outcome: Outcome }
  | { readonly refusal: KeyturnError; readonly outcome: Outcome }

/**
 * A refresh token for an access token and, unless rotation is off, the newest refresh token. As Simple JWT's
 * TokenRefreshView. Throws KeyturnError TOKEN_* for a token that cannot be read; refuses with TOKEN_REVOKED,
 * TOKEN_REUSED, and as makeFindRefresher says.
 *
 * The user is looked up, and the claims are made, before the rotation, not beside it: a database that fails then costs
 * the client nothing, while a rotation whose answer was lost to it would pass for theft once the grace is over.
 */
export const makeRefresh = (parts: Parts) => {
  const { sessions, access, refresh, sessionPolicy } = parts
  const findRefresher = makeFindRefresher(parts)
  const adopt = makeAdopt(parts)
  return async (token: string, client: SessionClient): Promise<RefreshResult> => {
    const presented = refresh.read(token)
    const { userId, sid } = presented
    const refresher = await findRefresher(presented)
    if ('refusal' in refresher) return { ...refresher, outcome: { user_id: userId, sid } }
    const { user, custom } = refresher
    await adopt(presented, client)
    const verdict = await sessions.rotate(presented)
    const outcome: Outcome = { user_id: userId, sid, verdict: verdict.kind }
    switch (verdict.kind) {
      case 'unknown':
        return { refusal: new KeyturnError('TOKEN_REVOKED'), outcome }
      case 'reused':
        return { refusal: new KeyturnError('TOKEN_REUSED'), outcome }
      default:
        return {
          access: access.issue(user, sid, custom),
          ...(sessionPolicy.rotate ? { refresh: refresh.issue(user, sid, verdict.newest) } : {}),
          outcome
        }
    }
  }
}

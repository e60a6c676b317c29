import { KeyturnError } from '../../errors.ts'
import type { SessionStore } from '../../sessions/store.ts'
import type { Actor, RecordAct } from './act.ts'

export interface SessionParts {
  readonly sessions: Pick<SessionStore, 'revoke' | 'revokeAll'>
  readonly record: RecordAct
}

/** Ends sessions of a user. Each method throws KeyturnError STORE_DOWN. Every worker refuses their access tokens from then on. */
export const makeManageSessions = ({ sessions, record }: SessionParts) => ({
  /** Throws KeyturnError NOT_FOUND when the user has no such session. */
  async end(by: Actor, userId: string, sid: string): Promise<void> {
    if (!(await sessions.revoke(userId, sid))) throw new KeyturnError('NOT_FOUND')
    await record('session_revoke', by, { userId, sid })
  },

  /** Returns the ids of the sessions that ended. */
  async endAll(by: Actor, userId: string): Promise<readonly string[]> {
    const sids = await sessions.revokeAll(userId)
    await Promise.all(sids.map((sid) => record('session_revoke', by, { userId, sid })))
    return sids
  }
})

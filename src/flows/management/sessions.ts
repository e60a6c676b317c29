import { KeyturnError } from '../../errors.ts'
import type { SessionStore } from '../../sessions/store.ts'
import type { Actor, RecordAct } from './act.ts'

export interface SessionParts {
  readonly sessions: Pick<SessionStore, 'revoke' | 'revokeAll'>
  readonly record: RecordAct
}

/** How many users had sessions that ended, and how many sessions. */
export interface EndedSessions {
  readonly users: number
  readonly sessions: number
}

/** What is under way at once: stores refuse more than 500 calls, the audit trail holds 10,000 entries, and others have their turns. */
const batchSize = 100

async function inBatches<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  for (let first = 0; first < items.length; first += batchSize)
    await Promise.all(items.slice(first, first + batchSize).map(work))
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
    await inBatches(sids, (sid) => record('session_revoke', by, { userId, sid }))
    return sids
  },

  /**
   * Ends all sessions of many users, a hundred users at a time. Each user whose sessions ended has one entry in the audit trail.
   * If it fails half-way, calling it again ends the rest.
   */
  async endAllOf(by: Actor, userIds: readonly string[]): Promise<EndedSessions> {
    const ended = { users: 0, sessions: 0 }
    const endOne = async (userId: string): Promise<void> => {
      const { length } = await sessions.revokeAll(userId)
      if (length === 0) return
      await record('session_revoke', by, { userId })
      ended.users += 1
      ended.sessions += length
    }
    await inBatches([...new Set(userIds)], endOne)
    return ended
  }
})

import { KeyturnError } from '../../errors.ts'
import type { SessionStore } from '../../sessions/store.ts'
import type { UserStore } from '../../users/store.ts'
import type { Actor, RecordAct } from './act.ts'

export interface SessionParts {
  readonly users: Pick<UserStore, 'findById'>
  readonly sessions: Pick<SessionStore, 'revoke' | 'revokeAll'>
  readonly record: RecordAct
}

/** How many users had sessions that ended, and how many sessions. */
export interface EndedSessions {
  readonly users: number
  readonly sessions: number
}

/**
 * The number of users processed concurrently: stores refuse more than 500 calls, the audit trail holds 10,000 entries, and
 * other requests must get their turn.
 */
const batchSize = 100

function* batchesOf<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  for (let first = 0; first < items.length; first += batchSize) yield items.slice(first, first + batchSize)
}

/** Whether a session can have this id. Other text is not recorded, since PostgreSQL cannot store some of it. */
const isSessionId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text)

/**
 * Ends sessions of a user. Each method throws KeyturnError STORE_DOWN. Every worker refuses their access tokens from then on.
 *
 * A call that finds nothing to end has an entry with the result `ended`: it may repeat a call that was answered 503 because its
 * entry could not be written.
 */
export const makeManageSessions = ({ users, sessions, record }: SessionParts) => {
  /** Records the act only if the user exists, since any other id may be invented. Returns whether the user exists. */
  const recordNothingToEnd = async (by: Actor, userId: string, sid?: string): Promise<boolean> => {
    if ((await users.findById(userId)) === undefined) return false
    await record('session_revoke', by, { userId, sid, result: 'ended' })
    return true
  }

  return {
    /** Throws KeyturnError NOT_FOUND when the user has no such session. */
    async end(by: Actor, userId: string, sid: string): Promise<void> {
      if (await sessions.revoke(userId, sid)) return await record('session_revoke', by, { userId, sid })
      if (isSessionId(sid)) await recordNothingToEnd(by, userId, sid)
      throw new KeyturnError('NOT_FOUND')
    },

    /** Returns the ids of the sessions that ended. Throws KeyturnError NOT_FOUND when there is neither a session nor such a user. */
    async endAll(by: Actor, userId: string): Promise<readonly string[]> {
      const sids = await sessions.revokeAll(userId)
      if (sids.length === 0 && !(await recordNothingToEnd(by, userId))) throw new KeyturnError('NOT_FOUND')
      for (const batch of batchesOf(sids))
        await Promise.all(batch.map((sid) => record('session_revoke', by, { userId, sid })))
      return sids
    },

    /**
     * Ends all sessions of many users, a hundred users at a time. Each user has one entry in the audit trail. If it fails half-way,
     * calling it again ends the rest. 10,000 users: bench/bulk-revocation.ts.
     */
    async endAllOf(by: Actor, userIds: readonly string[]): Promise<EndedSessions> {
      const ended = { users: 0, sessions: 0 }
      const recordEnd = async (userId: string, ending: Promise<readonly string[]>): Promise<void> => {
        const { length } = await ending
        if (length === 0) return void (await recordNothingToEnd(by, userId))
        await record('session_revoke', by, { userId })
        ended.users += 1
        ended.sessions += length
      }
      let previous: Promise<unknown> = Promise.resolve()
      for (const batch of batchesOf([...new Set(userIds)])) {
        const endings = batch.map((userId) => sessions.revokeAll(userId))
        const records = Promise.all(endings.map((ending, index) => recordEnd(batch[index] as string, ending)))
        // They are awaited with the next batch, whose sessions end while they are written.
        records.catch(() => {})
        await Promise.all([...endings, previous])
        previous = records
      }
      await previous
      return ended
    }
  }
}

import { KeyturnError } from '../errors.ts'
import type { Session } from '../sessions/session.ts'
import type { Caller } from './caller.ts'
import type { Parts } from './parts.ts'

/** The sessions of whoever calls. Each throws KeyturnError STORE_DOWN when they cannot be reached. */
export const makeSessions = ({ sessions }: Parts) => ({
  /** Newest first. */
  list: (caller: Caller): Promise<readonly Session[]> => sessions.list(caller.userId),

  /** Ends one of them. Throws KeyturnError NOT_FOUND when the caller has no such session. */
  async end(caller: Caller, sid: string): Promise<void> {
    if (!(await sessions.revoke(caller.userId, sid))) throw new KeyturnError('NOT_FOUND')
  },

  /** Ends all of them, or all but the one that calls. */
  async endAll(caller: Caller, keepCurrent: boolean): Promise<void> {
    await sessions.revokeAll(caller.userId, keepCurrent ? caller.sid : undefined)
  }
})

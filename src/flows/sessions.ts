import { KeyturnError } from '../errors.ts'
import type { Session } from '../sessions/session.ts'
import type { SessionPosition } from '../sessions/store.ts'
import type { Caller } from './caller.ts'
import type { Parts } from './parts.ts'

/** A page of sessions, and the cursor of the page after it; undefined when this is the last one. */
export interface ListedSessions {
  readonly sessions: readonly Session[]
  readonly next: string | undefined
}

/** The caller's sessions. Each method throws KeyturnError STORE_DOWN when the store cannot be reached. */
export const makeSessions = ({ sessions }: Parts) => ({
  /** Newest first: `limit` of them, beginning after the cursor. Throws KeyturnError FIELDS_INVALID for an invalid cursor. */
  async list(caller: Pick<Caller, 'userId'>, limit: number, cursor?: string): Promise<ListedSessions> {
    const after = cursor === undefined ? undefined : parseCursor(cursor)
    // One more shows whether there is another page.
    const found = await sessions.list(caller.userId, { limit: limit + 1, after })
    const page = found.slice(0, limit)
    const last = page.at(-1)
    return { sessions: page, next: last === undefined || found.length <= limit ? undefined : cursorOf(last) }
  },

  /** Ends one of the caller's sessions. Throws KeyturnError NOT_FOUND if the caller does not have this session. */
  async end(caller: Caller, sid: string): Promise<void> {
    if (!(await sessions.revoke(caller.userId, sid))) throw new KeyturnError('NOT_FOUND')
  },

  /** Ends all of the caller's sessions, or all but the current one. */
  async endAll(caller: Caller, keepCurrent: boolean): Promise<void> {
    await sessions.revokeAll(caller.userId, keepCurrent ? caller.sid : undefined)
  }
})

const cursorOf = ({ createdAt, sid }: SessionPosition): string => `${createdAt}-${sid}`

function parseCursor(cursor: string): SessionPosition {
  const [, createdAt, sid] = /^(\d{1,15})-([0-9a-f]{32})$/.exec(cursor) ?? []
  if (createdAt === undefined || sid === undefined)
    throw new KeyturnError('FIELDS_INVALID', { fields: { after: ['It must be the "next" of another page.'] } })
  return { createdAt: Number(createdAt), sid }
}

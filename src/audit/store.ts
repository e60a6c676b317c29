import type { AuditEvent } from './event.ts'

/** An event at its position. */
export interface AuditEntry extends AuditEvent {
  /** From 1, without gaps. */
  readonly seq: number
  /** Over the event, its position, and the hash of the previous entry: chain.ts. */
  readonly hash: string
}

/** Which entries are wanted; a member that is undefined excludes none. */
export interface AuditFilter {
  readonly userId?: string | undefined
  readonly event?: string | undefined
}

/** Stores the audit trail, which is append-only. Every method throws KeyturnError STORE_DOWN. */
export interface AuditStore {
  /** The newest entry; undefined if the trail is empty. */
  last(): Promise<AuditEntry | undefined>
  /**
   * Adds entries at consecutive positions, all or none: none if the first position is taken. Returns whether they were added. One
   * of several concurrent processes wins.
   */
  add(entries: readonly AuditEntry[]): Promise<boolean>
  /** At most `limit` entries after position `seq`, oldest first; with a filter only those that match. */
  list(seq: number, limit: number, filter?: AuditFilter): Promise<readonly AuditEntry[]>
  /** At most `limit` matching entries before position `seq`, newest first; without a position, the newest of all. */
  listNewest(limit: number, filter?: AuditFilter, seq?: number): Promise<readonly AuditEntry[]>
  /** How many entries have no position, since an earlier version wrote them. */
  countUnplaced(): Promise<number>
}

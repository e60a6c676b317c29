import type { AuditEvent } from './event.ts'

/** An event in its place. */
export interface AuditEntry extends AuditEvent {
  /** From 1, without gaps. */
  readonly seq: number
  /** Over the event, its place, and the hash of the entry before: chain.ts. */
  readonly hash: string
}

/** Where the audit trail is kept. It is only ever added to. Every method throws KeyturnError STORE_DOWN. */
export interface AuditStore {
  /** The newest entry; undefined when there is none. */
  last(): Promise<AuditEntry | undefined>
  /** Adds an entry unless its place is taken: of several processes that try at once, one wins. Whether it was added. */
  add(entry: AuditEntry): Promise<boolean>
  /** At most `limit` entries after the place `seq`, oldest first. */
  list(seq: number, limit: number): Promise<readonly AuditEntry[]>
  /** How many entries have no place, since a version without places wrote them. */
  countUnplaced(): Promise<number>
}

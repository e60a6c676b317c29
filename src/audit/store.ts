import type { AuditEvent } from './event.ts'

/** The audit trail: it is only ever added to. */
export interface AuditStore {
  /** Throws KeyturnError STORE_DOWN. */
  append(event: AuditEvent): Promise<void>
}

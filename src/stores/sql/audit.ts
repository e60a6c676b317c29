import { randomUUID } from 'node:crypto'
import type { AuditStore } from '../../audit/store.ts'
import type { SqlQueries } from './connection.ts'

/** The audit trail in the table keyturn_audit. */
export const makeAuditStore = (db: SqlQueries): AuditStore => ({
  async append({ event, result, at, userId, sid, ip, requestId }) {
    await db.query(
      `INSERT INTO keyturn_audit (id, at, event, result, user_id, sid, ip, request_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [randomUUID(), at, event, result, userId ?? null, sid ?? null, ip, requestId]
    )
  }
})

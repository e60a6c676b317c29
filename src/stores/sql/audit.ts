import { randomUUID } from 'node:crypto'
import type { AuditEvent } from '../../audit/event.ts'
import type { AuditEntry, AuditStore } from '../../audit/store.ts'
import type { SqlQueries } from './connection.ts'

interface AuditRow {
  readonly seq: number
  readonly hash: string
  readonly at: number
  readonly event: AuditEvent['event']
  readonly result: string
  readonly user_id: string | null
  readonly sid: string | null
  readonly object: string | null
  readonly actor: string | null
  readonly ip: string
  readonly request_id: string
}

const columns = 'seq, hash, at, event, result, user_id, sid, object, actor, ip, request_id'

/** The audit trail in the table keyturn_audit. */
export const makeAuditStore = (db: SqlQueries): AuditStore => ({
  async last() {
    const [row] = await db.query<AuditRow>(
      `SELECT ${columns} FROM keyturn_audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1`
    )
    return row === undefined ? undefined : toEntry(row)
  },
  async add({ seq, hash, at, event, result, userId, sid, object, actor, ip, requestId }) {
    const added = await db.query(
      `INSERT INTO keyturn_audit (id, ${columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
       ON CONFLICT (seq) DO NOTHING RETURNING seq`,
      [
        randomUUID(),
        seq,
        hash,
        at,
        event,
        result,
        userId ?? null,
        sid ?? null,
        object ?? null,
        actor ?? null,
        ip,
        requestId
      ]
    )
    return added.length > 0
  },
  async list(seq, limit) {
    const rows = await db.query<AuditRow>(`SELECT ${columns} FROM keyturn_audit WHERE seq > $1 ORDER BY seq LIMIT $2`, [
      seq,
      limit
    ])
    return rows.map(toEntry)
  },
  async countUnplaced() {
    const [row] = await db.query<{ count: number }>('SELECT COUNT(*) AS count FROM keyturn_audit WHERE seq IS NULL')
    return row?.count ?? 0
  }
})

const toEntry = ({ user_id, request_id, sid, object, actor, ...row }: AuditRow): AuditEntry => ({
  ...row,
  userId: user_id ?? undefined,
  sid: sid ?? undefined,
  object: object ?? undefined,
  actor: actor ?? undefined,
  requestId: request_id
})

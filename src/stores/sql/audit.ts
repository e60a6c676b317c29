import { randomUUID } from 'node:crypto'
import { beginning } from '../../audit/chain.ts'
import type { AuditEvent } from '../../audit/event.ts'
import type { AuditEntry, AuditFilter, AuditStore } from '../../audit/store.ts'
import type { EntryAfter } from '../../audit/trail.ts'
import type { SqlDatabase, SqlRow, Statement, Steps } from './connection.ts'

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

/**
 * Adds the entries of the JSON list $1, of which $2 is the first position. The other positions follow an entry that is added here,
 * so no process can have taken them. ON CONFLICT on all of them would add the end of a batch whose start was too late.
 */
const addToPostgres = `
  WITH given AS (
    SELECT * FROM json_populate_recordset(NULL::keyturn_audit, $1::json)
  ), started AS (
    INSERT INTO keyturn_audit (id, ${columns}) SELECT id, ${columns} FROM given WHERE seq = $2::bigint
    ON CONFLICT (seq) DO NOTHING RETURNING seq
  ), continued AS (
    INSERT INTO keyturn_audit (id, ${columns})
    SELECT id, ${columns} FROM given WHERE seq > $2::bigint AND EXISTS (SELECT 1 FROM started)
  )
  SELECT seq FROM started`

/** The same. SQLite has one writer at a time, so the condition holds until the statement ends. */
const addToSqlite = `
  INSERT INTO keyturn_audit (id, ${columns})
  SELECT ${`id, ${columns}`.replace(/\w+/g, (name) => `json_extract(value, '$.${name}')`)} FROM json_each($1)
  WHERE NOT EXISTS (SELECT 1 FROM keyturn_audit WHERE seq >= $2) RETURNING seq`

const selectNewest = `SELECT ${columns} FROM keyturn_audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1`

/** Returns a row if the entries were added. */
function addition(dialect: SqlDatabase['dialect'], entries: readonly AuditEntry[]): Statement {
  const rows = entries.map(({ userId, requestId, ...entry }) => ({
    ...entry,
    id: randomUUID(),
    user_id: userId,
    request_id: requestId
  }))
  return {
    sql: dialect === 'postgres' ? addToPostgres : addToSqlite,
    values: [JSON.stringify(rows), entries[0]?.seq ?? 0]
  }
}

/**
 * The same database; each change that finds a row is committed together with its entry in the audit trail, or not at all. The
 * entry comes last: other processes, which wait for its position, do not wait for the locks of the change.
 */
export const withEntries = (db: SqlDatabase, entryAfter: EntryAfter): SqlDatabase => ({
  ...db,
  change: (sql, values) => db.change(sql, values, (rows) => addEntry(db.dialect, entryAfter, rows))
})

function* addEntry(dialect: SqlDatabase['dialect'], entryAfter: EntryAfter, [changed]: readonly SqlRow[]): Steps {
  if (changed === undefined) return
  const { id } = changed
  for (let isAdded = false; !isAdded; ) {
    const [newest] = yield { sql: selectNewest }
    const before = newest === undefined ? beginning : toEntry(newest as unknown as AuditRow)
    const added = yield addition(dialect, [entryAfter(before, typeof id === 'string' ? id : undefined)])
    isAdded = added.length > 0
  }
}

/** The audit trail in the table keyturn_audit. */
export const makeAuditStore = (db: Pick<SqlDatabase, 'query' | 'dialect'>): AuditStore => ({
  async last() {
    const [row] = await db.query<AuditRow>(selectNewest)
    return row === undefined ? undefined : toEntry(row)
  },
  async add(entries) {
    if (entries.length === 0) return true
    const { sql, values } = addition(db.dialect, entries)
    return (await db.query(sql, values)).length > 0
  },
  list: (seq, limit, filter) => select(db, 'seq > $1', 'seq', [seq, limit], filter),
  listNewest: (limit, filter, seq = Number.MAX_SAFE_INTEGER) =>
    select(db, 'seq < $1', 'seq DESC', [seq, limit], filter),
  async countUnplaced() {
    const [row] = await db.query<{ count: number }>('SELECT COUNT(*) AS count FROM keyturn_audit WHERE seq IS NULL')
    return row?.count ?? 0
  }
})

/** The entries of a range of positions that match a filter. */
async function select(
  db: Pick<SqlDatabase, 'query'>,
  range: 'seq > $1' | 'seq < $1',
  order: 'seq' | 'seq DESC',
  [seq, limit]: readonly [seq: number, limit: number],
  { userId, event }: AuditFilter = {}
): Promise<readonly AuditEntry[]> {
  // PostgreSQL's text holds no NUL and answers with an error: no entry has such a value.
  if (userId?.includes('\0') || event?.includes('\0')) return []
  const values = [seq, limit, userId, event].filter((value) => value !== undefined)
  const conditions = [
    range,
    ...(userId === undefined ? [] : ['user_id = $3']),
    ...(event === undefined ? [] : [`event = $${values.length}`])
  ]
  const sql = `SELECT ${columns} FROM keyturn_audit WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT $2`
  return (await db.query<AuditRow>(sql, values)).map(toEntry)
}

const toEntry = ({ user_id, request_id, sid, object, actor, ...row }: AuditRow): AuditEntry => ({
  ...row,
  userId: user_id ?? undefined,
  sid: sid ?? undefined,
  object: object ?? undefined,
  actor: actor ?? undefined,
  requestId: request_id
})

import { longestForeignLife, type Session, type SessionPolicy } from '../../sessions/session.ts'
import { defaultPage, type ForeignToken, newestOf, type SessionPage } from '../../sessions/store.ts'
import type { Clock } from '../../time.ts'
import type { SqlQueries } from '../sql/connection.ts'
import type { EmbeddedEngine } from './engine.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS keyturn_sessions (
    sid TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    absolute_exp BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    superseded_at TEXT NOT NULL,
    anchor_generation BIGINT NOT NULL,
    anchor_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    late_generation BIGINT NOT NULL DEFAULT 0
  );
  CREATE INDEX IF NOT EXISTS keyturn_sessions_user ON keyturn_sessions (user_id, created_at);
  CREATE INDEX IF NOT EXISTS keyturn_sessions_expiry ON keyturn_sessions (expires_at);
  CREATE TABLE IF NOT EXISTS keyturn_endings (
    user_id TEXT PRIMARY KEY,
    up_to INTEGER NOT NULL,
    kept TEXT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS keyturn_revocations (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    revoked_at BIGINT NOT NULL,
    kind TEXT NOT NULL DEFAULT 'any'
  );
  CREATE TABLE IF NOT EXISTS keyturn_epoch (
    began_at BIGINT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS keyturn_revocations_time ON keyturn_revocations (revoked_at);
  CREATE TABLE IF NOT EXISTS keyturn_adoptions (
    sid TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS keyturn_session_ends (
    user_id TEXT PRIMARY KEY,
    ended_at BIGINT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS keyturn_session_ends_time ON keyturn_session_ends (ended_at);
`

interface SessionRow {
  readonly sid: string
  readonly user_id: string
  readonly generation: number
  readonly rotated_at: number
  readonly created_at: number
  readonly absolute_exp: number
  readonly expires_at: number
  /** JSON. */
  readonly superseded_at: string
  readonly anchor_generation: number
  readonly anchor_at: number
  readonly last_used_at: number
  readonly ip: string
  readonly user_agent: string
  readonly late_generation: number
}

const toSession = (row: SessionRow): Session => ({
  userId: row.user_id,
  sid: row.sid,
  generation: row.generation,
  rotatedAt: row.rotated_at,
  createdAt: row.created_at,
  absoluteExp: row.absolute_exp,
  expiresAt: row.expires_at,
  supersededAt: JSON.parse(row.superseded_at),
  anchorGeneration: row.anchor_generation,
  anchorAt: row.anchor_at,
  lastUsedAt: row.last_used_at,
  lateGeneration: row.late_generation,
  device: { ip: row.ip, userAgent: row.user_agent }
})

/** The maximum number of sessions that are counted, which takes some milliseconds. */
const maxCounted = 100_000

/** The maximum number of sessions that one transaction ends, which takes some three milliseconds. */
const step = 200

/**
 * An unfinished end of all sessions of a user: those up to a rowid, except the kept one, have ended, and are announced and
 * deleted step by step. A session that starts meanwhile has a greater rowid.
 */
interface Ending {
  readonly upTo: number
  readonly kept: string
}

/** The statements on the tables of sessions. Those that write must run in a transaction of the caller. */
export class SessionRows {
  readonly #engine: EmbeddedEngine
  readonly #policy: SessionPolicy
  /** How long a revocation matters, in whole seconds. */
  readonly #window: number
  readonly #clock: Clock

  constructor(engine: EmbeddedEngine, policy: SessionPolicy, window: number, clock: Clock) {
    this.#engine = engine
    this.#policy = policy
    this.#window = window
    this.#clock = clock
  }

  #findEnding(userId: string): Ending | undefined {
    return this.#engine.run<Ending>('SELECT up_to AS "upTo", kept FROM keyturn_endings WHERE user_id = $1', [userId])[0]
  }

  read(userId: string, sid: string): Session | undefined {
    return this.#engine
      .run<SessionRow>(
        `SELECT * FROM keyturn_sessions AS session WHERE sid = $1 AND user_id = $2 AND expires_at > $3 AND NOT EXISTS (
           SELECT 1 FROM keyturn_endings WHERE user_id = $2 AND session.rowid <= up_to AND kept <> $1)`,
        [sid, userId, this.#clock()]
      )
      .map(toSession)[0]
  }

  insert(session: Session): void {
    this.#engine.run(
      `INSERT INTO keyturn_sessions (rowid, sid, user_id, generation, rotated_at, created_at, absolute_exp, expires_at,
         anchor_generation, anchor_at, last_used_at, ip, user_agent, superseded_at)
       VALUES (1 + max(coalesce((SELECT max(rowid) FROM keyturn_sessions), 0),
                       coalesce((SELECT max(up_to) FROM keyturn_endings), 0)), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
      [
        session.sid,
        session.userId,
        session.generation,
        session.rotatedAt,
        session.createdAt,
        session.absoluteExp,
        session.expiresAt,
        session.anchorGeneration,
        session.anchorAt,
        session.lastUsedAt,
        session.device.ip,
        session.device.userAgent,
        JSON.stringify(session.supersededAt)
      ]
    )
  }

  update(session: Session): void {
    this.#engine.run(
      `UPDATE keyturn_sessions SET generation = $2, rotated_at = $3, expires_at = $4, anchor_generation = $5, anchor_at = $6,
         last_used_at = $7, superseded_at = $8, late_generation = $9 WHERE sid = $1`,
      [
        session.sid,
        session.generation,
        session.rotatedAt,
        session.expiresAt,
        session.anchorGeneration,
        session.anchorAt,
        session.lastUsedAt,
        JSON.stringify(session.supersededAt),
        session.lateGeneration
      ]
    )
  }

  /** Announces sessions to every worker, and deletes entries that no access token can outlive, in the transaction of the caller. */
  announce(ids: readonly string[], kind: 'sid' | 'jti' = 'sid'): void {
    for (const id of ids)
      this.#engine.run('INSERT INTO keyturn_revocations (id, revoked_at, kind) VALUES ($1, $2, $3)', [
        id,
        this.#clock(),
        kind
      ])
    if (ids.length > 0)
      this.#engine.run('DELETE FROM keyturn_revocations WHERE revoked_at < $1', [this.#clock() - this.#window])
  }

  /** Ends a session and announces it, in the transaction of the caller; false when there is none. */
  end(userId: string, sid: string): boolean {
    const ended = this.#engine.run<{ sid: string }>(
      'DELETE FROM keyturn_sessions WHERE sid = $1 AND user_id = $2 AND expires_at > $3 RETURNING sid',
      [sid, userId, this.#clock()]
    )
    this.announce(ended.map((row) => row.sid))
    return ended.length > 0
  }

  /** Deletes sessions, selected by a subquery for their rowids, announces those that were live, and returns their sids. */
  #endThose(rowids: string, values: readonly (string | number)[]): readonly string[] {
    const rows = this.#engine.run<Pick<SessionRow, 'sid' | 'expires_at'>>(
      `DELETE FROM keyturn_sessions WHERE rowid IN (${rowids}) RETURNING sid, expires_at`,
      values
    )
    const live = rows.filter((row) => row.expires_at > this.#clock()).map((row) => row.sid)
    this.announce(live)
    return live
  }

  /**
   * Ends all sessions of the user except the kept one: they count as ended at once, and are deleted in steps. For a user
   * without sessions, only the time is written.
   */
  beginEnding(userId: string, kept: string): void {
    this.#dateEnding(userId)
    if (this.#engine.run('SELECT 1 FROM keyturn_sessions WHERE user_id = $1 LIMIT 1', [userId]).length === 0) return
    const isLive = kept !== '' && this.read(userId, kept) !== undefined
    this.#engine.run(
      `INSERT INTO keyturn_endings (user_id, up_to, kept)
       VALUES ($1, (SELECT coalesce(max(rowid), 0) FROM keyturn_sessions), $2)
       ON CONFLICT (user_id) DO UPDATE SET up_to = excluded.up_to, kept = excluded.kept`,
      [userId, isLive ? kept : '']
    )
  }

  /**
   * Carries out a step of an ending, in the transaction of the caller, and returns the sids of the sessions; none if the ending
   * is finished.
   */
  endSome(userId: string): readonly string[] {
    const ending = this.#findEnding(userId)
    if (ending === undefined) return []
    return this.#endThose(
      `SELECT rowid FROM keyturn_sessions WHERE user_id = $1 AND rowid <= $2 AND sid <> $3 LIMIT ${step}`,
      [userId, ending.upTo, ending.kept]
    )
  }

  /** Deletes an ending that has no sessions left. Returns whether there is none any more. */
  finishEnding(userId: string): boolean {
    const ending = this.#findEnding(userId)
    if (ending === undefined) return true
    const rest = 'SELECT 1 FROM keyturn_sessions WHERE user_id = $1 AND rowid <= $2 AND sid <> $3 LIMIT 1'
    if (this.#engine.run(rest, [userId, ending.upTo, ending.kept]).length > 0) return false
    this.#engine.run('DELETE FROM keyturn_endings WHERE user_id = $1', [userId])
    return true
  }

  /** Whether all sessions of the user were ended after a token was issued. */
  isEndedSince({ userId, issuedAt }: Pick<ForeignToken, 'userId' | 'issuedAt'>): boolean {
    return (
      this.#engine.run('SELECT 1 FROM keyturn_session_ends WHERE user_id = $1 AND ended_at >= $2', [userId, issuedAt])
        .length > 0
    )
  }

  /** How many sessions there are, counted up to 100,000. */
  count(): number {
    const [row] = this.#engine.run<{ count: number }>(
      'SELECT count(*) AS count FROM (SELECT 1 FROM keyturn_sessions WHERE expires_at > $1 LIMIT $2)',
      [this.#clock(), maxCounted]
    )
    return row?.count ?? 0
  }

  /** By how many sessions the user exceeds the limit, counted up to one step. */
  #countSurplus(userId: string): number {
    const [row] = this.#engine.run<{ count: number }>(
      'SELECT count(*) AS count FROM (SELECT 1 FROM keyturn_sessions WHERE user_id = $1 LIMIT $2)',
      [userId, this.#policy.maxPerUser + step]
    )
    return (row?.count ?? 0) - this.#policy.maxPerUser
  }

  /** Ends the oldest sessions beyond the limit, at most one step; or continues an unfinished ending. */
  endSurplus(userId: string): readonly string[] {
    if (this.#findEnding(userId) !== undefined) {
      this.endSome(userId)
      this.finishEnding(userId)
      return []
    }
    let surplus = this.#countSurplus(userId)
    if (surplus > 0 && surplus < step) {
      this.#engine.run('DELETE FROM keyturn_sessions WHERE user_id = $1 AND expires_at <= $2', [userId, this.#clock()])
      surplus = this.#countSurplus(userId)
    }
    if (surplus <= 0) return []
    return this.#endThose('SELECT rowid FROM keyturn_sessions WHERE user_id = $1 ORDER BY created_at, rowid LIMIT $2', [
      userId,
      surplus
    ])
  }

  /** Deletes some expired sessions, so that they do not accumulate in the file. */
  clearExpired(): void {
    this.#engine.run(
      'DELETE FROM keyturn_sessions WHERE sid IN (SELECT sid FROM keyturn_sessions WHERE expires_at <= $1 LIMIT 20)',
      [this.#clock()]
    )
  }

  /** Records the adoption of a token until it expires. Returns whether it is the first one for its session. */
  insertAdoption({ userId, sid, expiresAt }: ForeignToken): boolean {
    this.#engine.run('DELETE FROM keyturn_adoptions WHERE expires_at <= $1', [this.#clock()])
    const rows = this.#engine.run(
      'INSERT INTO keyturn_adoptions (sid, user_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING sid',
      [sid, userId, expiresAt]
    )
    return rows.length > 0
  }

  isAdopted(sid: string): boolean {
    const sql = 'SELECT 1 FROM keyturn_adoptions WHERE sid = $1 AND expires_at > $2'
    return this.#engine.run(sql, [sid, this.#clock()]).length > 0
  }

  list(userId: string, { limit = defaultPage, after }: SessionPage): readonly Session[] {
    const { upTo, kept } = this.#findEnding(userId) ?? { upTo: 0, kept: '' }
    const { createdAt, sid } = after ?? { createdAt: Number.MAX_SAFE_INTEGER, sid: '' }
    const sessions = this.#engine
      .run<SessionRow>(
        `SELECT * FROM keyturn_sessions WHERE user_id = $1 AND rowid > $2 AND created_at <= $3
           AND (created_at < $3 OR sid < $4) AND expires_at > $5 ORDER BY created_at DESC, sid DESC LIMIT $6`,
        [userId, upTo, createdAt, sid, this.#clock(), limit]
      )
      .map(toSession)
    const own = kept === '' ? undefined : this.read(userId, kept)
    return newestOf(own === undefined ? sessions : [...sessions, own], limit, after)
  }

  /** Records when all sessions of the user were ended, for tokens of another issuer. */
  #dateEnding(userId: string): void {
    this.#engine.run(
      `INSERT INTO keyturn_session_ends (user_id, ended_at) VALUES ($1, $2)
       ON CONFLICT (user_id) DO UPDATE SET ended_at = excluded.ended_at`,
      [userId, this.#clock()]
    )
    this.#engine.run('DELETE FROM keyturn_session_ends WHERE ended_at < $1', [this.#clock() - longestForeignLife])
  }
}

/** Columns that tables of earlier versions lack. */
const laterColumns = [
  ['keyturn_revocations', 'kind', "TEXT NOT NULL DEFAULT 'any'"],
  ['keyturn_sessions', 'late_generation', 'BIGINT NOT NULL DEFAULT 0']
] as const

/**
 * Creates the tables, or updates them. The epoch is when the feed began (src/stores/redis/lua/epoch.lua), or 0 if the feed is
 * that of an earlier version, which has lost nothing.
 */
export async function prepareTables(
  { query, script }: SqlQueries & { script(sql: string): Promise<void> },
  now: number
): Promise<void> {
  const columnsOf = async (table: string) =>
    (await query<{ name: string }>(`PRAGMA table_info(${table})`)).map(({ name }) => name)
  const isNew = (await columnsOf('keyturn_revocations')).length === 0
  await script(schema)
  for (const [table, column, type] of laterColumns) {
    if (!(await columnsOf(table)).includes(column)) await script(`ALTER TABLE ${table} ADD COLUMN ${column} ${type}`)
  }
  await query('INSERT INTO keyturn_epoch (began_at) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM keyturn_epoch)', [
    isNew ? now : 0
  ])
}

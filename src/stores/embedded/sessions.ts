import { randomId } from '../../random.ts'
import { decide } from '../../sessions/rotation.ts'
import { longestForeignLife, type Session, type SessionPolicy, startSession } from '../../sessions/session.ts'
import type { ForeignToken, SessionStore } from '../../sessions/store.ts'
import type { Clock } from '../../time.ts'
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
    user_agent TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS keyturn_sessions_user ON keyturn_sessions (user_id, created_at);
  CREATE INDEX IF NOT EXISTS keyturn_sessions_expiry ON keyturn_sessions (expires_at);
  CREATE TABLE IF NOT EXISTS keyturn_revocations (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    revoked_at BIGINT NOT NULL
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
  client: { ip: row.ip, userAgent: row.user_agent }
})

/**
 * Sessions in the embedded database: `decide` inside a write transaction, so that processes of this host take turns.
 * `window` is how long a revocation matters, in whole seconds.
 */
export async function openEmbeddedSessions(
  engine: EmbeddedEngine,
  policy: SessionPolicy,
  window: number,
  clock: Clock
): Promise<SessionStore> {
  await engine.exclusively(({ script }) => script(schema))

  const read = (userId: string, sid: string): Session | undefined =>
    engine
      .run<SessionRow>('SELECT * FROM keyturn_sessions WHERE sid = $1 AND user_id = $2 AND expires_at > $3', [
        sid,
        userId,
        clock()
      ])
      .map(toSession)[0]

  const insert = (session: Session): void => {
    engine.run(
      `INSERT INTO keyturn_sessions (sid, user_id, generation, rotated_at, created_at, absolute_exp, expires_at,
         anchor_generation, anchor_at, last_used_at, ip, user_agent, superseded_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
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
        session.client.ip,
        session.client.userAgent,
        JSON.stringify(session.supersededAt)
      ]
    )
  }

  const update = (session: Session): void => {
    engine.run(
      `UPDATE keyturn_sessions SET generation = $2, rotated_at = $3, expires_at = $4, anchor_generation = $5, anchor_at = $6,
         last_used_at = $7, superseded_at = $8 WHERE sid = $1`,
      [
        session.sid,
        session.generation,
        session.rotatedAt,
        session.expiresAt,
        session.anchorGeneration,
        session.anchorAt,
        session.lastUsedAt,
        JSON.stringify(session.supersededAt)
      ]
    )
  }

  /** Tells every worker, and forgets what no access token can outlive, in the transaction of the caller. */
  const announce = (ids: readonly string[]): void => {
    for (const id of ids) engine.run('INSERT INTO keyturn_revocations (id, revoked_at) VALUES ($1, $2)', [id, clock()])
    if (ids.length > 0) engine.run('DELETE FROM keyturn_revocations WHERE revoked_at < $1', [clock() - window])
  }

  /** Ends sessions and tells every worker, in the transaction of the caller. */
  const end = (sids: readonly string[]): void => {
    for (const sid of sids) engine.run('DELETE FROM keyturn_sessions WHERE sid = $1', [sid])
    announce(sids)
  }

  const liveOnes = (userId: string): readonly Session[] =>
    engine
      .run<SessionRow>(
        'SELECT * FROM keyturn_sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY created_at DESC, rowid DESC',
        [userId, clock()]
      )
      .map(toSession)

  /** Whether all sessions of the user were ended after a token was issued. */
  const isEndedSince = ({ userId, issuedAt }: Pick<ForeignToken, 'userId' | 'issuedAt'>): boolean =>
    engine.run('SELECT 1 FROM keyturn_session_ends WHERE user_id = $1 AND ended_at >= $2', [userId, issuedAt]).length >
    0

  const oldestBeyondLimit = (userId: string): readonly string[] =>
    policy.maxPerUser === 0
      ? []
      : liveOnes(userId)
          .slice(policy.maxPerUser)
          .map(({ sid }) => sid)

  return {
    async start(userId, client, lifetime = policy.lifetime) {
      return engine.transaction(() => {
        // Each login clears away a few sessions that are over, so that the file does not grow with them.
        engine.run(
          'DELETE FROM keyturn_sessions WHERE sid IN (SELECT sid FROM keyturn_sessions WHERE expires_at <= $1 LIMIT 20)',
          [clock()]
        )
        const session = startSession(userId, randomId(), client, clock(), { ...policy, lifetime })
        insert(session)
        const ended = oldestBeyondLimit(userId)
        end(ended)
        return { session, ended }
      })
    },
    async adopt({ userId, sid, issuedAt, expiresAt }, client) {
      return engine.transaction(() => {
        engine.run('DELETE FROM keyturn_adoptions WHERE expires_at <= $1', [clock()])
        const isFirst = engine.run(
          'INSERT INTO keyturn_adoptions (sid, user_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING sid',
          [sid, userId, expiresAt]
        )
        if (isFirst.length === 0 || isEndedSince({ userId, issuedAt })) return false
        insert(startSession(userId, sid, client, clock(), policy))
        return true
      })
    },
    async isSpent(token) {
      const adoptions = engine.run('SELECT 1 FROM keyturn_adoptions WHERE sid = $1 AND expires_at > $2', [
        token.sid,
        clock()
      ])
      return adoptions.length > 0 || isEndedSince(token)
    },
    async rotate({ userId, sid, generation }, rotates = policy.rotate) {
      return engine.transaction(() => {
        const decision = decide(read(userId, sid), generation, clock(), { ...policy, rotate: rotates })
        if (decision.session !== undefined) update(decision.session)
        else if (decision.verdict.kind === 'reused') end([sid])
        return decision.verdict
      })
    },
    async find(userId, sid) {
      return read(userId, sid)
    },
    async list(userId) {
      return liveOnes(userId)
    },
    async revoke(userId, sid) {
      return engine.transaction(() => {
        const isLive = read(userId, sid) !== undefined
        if (isLive) end([sid])
        return isLive
      })
    },
    async revokeAll(userId, kept) {
      return engine.transaction(() => {
        if (policy.adopts) {
          engine.run(
            `INSERT INTO keyturn_session_ends (user_id, ended_at) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET ended_at = excluded.ended_at`,
            [userId, clock()]
          )
          engine.run('DELETE FROM keyturn_session_ends WHERE ended_at < $1', [clock() - longestForeignLife])
        }
        const ended = liveOnes(userId)
          .map(({ sid }) => sid)
          .filter((sid) => sid !== kept)
        end(ended)
        return ended
      })
    },
    async revokeToken(jti) {
      engine.transaction(() => announce([jti]))
    },
    async ping() {
      engine.run('SELECT 1')
    },
    // The engine belongs to whoever opened it: users may live in it too.
    async close() {}
  }
}

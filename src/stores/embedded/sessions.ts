import { setImmediate as nextTurn } from 'node:timers/promises'
import { randomId } from '../../random.ts'
import { decide } from '../../sessions/rotation.ts'
import { type SessionPolicy, startSession } from '../../sessions/session.ts'
import type { SessionStore } from '../../sessions/store.ts'
import type { Clock } from '../../time.ts'
import type { EmbeddedEngine } from './engine.ts'
import { prepareTables, SessionRows } from './session-rows.ts'

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
  await engine.exclusively((database) => prepareTables(database, clock()))
  const rows = new SessionRows(engine, policy, window, clock)
  return {
    async start(userId, device, lifetime = policy.lifetime) {
      return engine.transaction(() => {
        rows.clearExpired()
        const session = startSession(userId, randomId(), device, clock(), { ...policy, lifetime })
        rows.insert(session)
        return { session, ended: rows.endSurplus(userId) }
      })
    },
    async adopt(token, device) {
      const { userId, sid, lifetime = policy.lifetime } = token
      return engine.transaction(() => {
        if (!rows.insertAdoption(token) || rows.isEndedSince(token)) return false
        rows.insert(startSession(userId, sid, device, clock(), { ...policy, lifetime }))
        return true
      })
    },
    async isSpent(token) {
      return rows.isAdopted(token.sid) || rows.isEndedSince(token)
    },
    async rotate({ userId, sid, generation }, rotates = policy.rotate) {
      return engine.transaction(() => {
        const decision = decide(rows.read(userId, sid), generation, clock(), { ...policy, rotate: rotates })
        if (decision.session !== undefined) rows.update(decision.session)
        // Reused; or one whose end is not finished.
        else rows.end(userId, sid)
        return decision.verdict
      })
    },
    async find(userId, sid) {
      return rows.read(userId, sid)
    },
    async list(userId, page = {}) {
      return rows.list(userId, page)
    },
    async revoke(userId, sid) {
      return engine.transaction(() => rows.end(userId, sid))
    },
    revokeAll: (userId, kept = '') => endAll(engine, rows, userId, kept),
    async revokeToken(jti) {
      engine.transaction(() => rows.announce([jti], 'jti'))
    },
    async ping() {
      engine.run('SELECT 1')
    },
    // The engine belongs to whatever opened it: users may live in it too.
    async close() {}
  }
}

async function endAll(
  engine: EmbeddedEngine,
  rows: SessionRows,
  userId: string,
  kept: string
): Promise<readonly string[]> {
  const first = engine.transaction(() => {
    rows.beginEnding(userId, kept)
    return rows.endSome(userId)
  })
  const ended = [...first]
  // Other requests take their turns between the steps. What a step has done is on the disk with the last one, at the
  // latest; that the sessions have ended has been there since the first.
  while (!engine.transaction(() => rows.finishEnding(userId))) {
    await nextTurn()
    for (const sid of engine.lightTransaction(() => rows.endSome(userId))) ended.push(sid)
  }
  return ended
}

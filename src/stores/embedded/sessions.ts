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
  const waitForTurn = makeTurns()
  return {
    async start(userId, device, lifetime = policy.lifetime) {
      return engine.transaction(() => {
        rows.clearExpired()
        const session = startSession(userId, randomId(), device, clock(), { ...policy, lifetime })
        rows.insert(session)
        return { session, ended: rows.endSurplus(userId) }
      })
    },
    ...makeAdoption(engine, rows, policy, clock),
    async rotate({ userId, sid, generation }, rotates = policy.rotate) {
      return engine.transaction(() => {
        const decision = decide(rows.read(userId, sid), generation, clock(), { ...policy, rotate: rotates })
        if (decision.session !== undefined) rows.update(decision.session)
        // Reused, or a session whose end is not finished.
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
    async revokeAll(userId, kept = '') {
      const turn = waitForTurn()
      if (turn !== undefined) await turn
      return await endAll(engine, rows, userId, kept)
    },
    async revokeToken(jti) {
      engine.transaction(() => rows.announce([jti], 'jti'))
    },
    async estimateCount() {
      return rows.count()
    },
    async ping() {
      engine.run('SELECT 1')
    },
    // The engine is closed by whatever opened it: it may also contain the users.
    async close() {}
  }
}

/** Sessions of another issuer's refresh tokens. */
function makeAdoption(
  engine: EmbeddedEngine,
  rows: SessionRows,
  policy: SessionPolicy,
  clock: Clock
): Pick<SessionStore, 'adopt' | 'isSpent'> {
  return {
    async adopt(token, device, { endsOthers = true } = {}) {
      const { userId, sid, lifetime = policy.lifetime } = token
      return engine.transaction(() => {
        if (!rows.insertAdoption(token) || rows.isEndedSince(token)) return false
        rows.insert(startSession(userId, sid, device, clock(), { ...policy, lifetime }))
        if (endsOthers) rows.endSurplus(userId)
        return true
      })
    },
    async isSpent(token) {
      return rows.isAdopted(token.sid) || rows.isEndedSince(token)
    }
  }
}

/**
 * Gives each call its own turn of the event loop, since many calls in one turn would block all other requests. Undefined if it
 * is the current turn.
 */
function makeTurns(): () => Promise<void> | undefined {
  let last: Promise<void> | undefined
  return () => {
    const own = last
    const next = (own ?? Promise.resolve())
      .then(() => nextTurn())
      .then(() => {
        if (last === next) last = undefined
      })
    last = next
    return own
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
    return { sids: rows.endSome(userId), isFinished: rows.finishEnding(userId) }
  })
  const ended = [...first.sids]
  let { isFinished } = first
  // Other requests get their turns between the steps. The last step flushes all of them to disk; the end of the sessions itself
  // was flushed by the first one.
  while (!isFinished) {
    await nextTurn()
    for (const sid of engine.lightTransaction(() => rows.endSome(userId))) ended.push(sid)
    isFinished = engine.transaction(() => rows.finishEnding(userId))
  }
  return ended
}

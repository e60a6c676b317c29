import { randomId } from '../../random.ts'
import { longestForeignLife, type Session, type SessionPolicy, startSession } from '../../sessions/session.ts'
import type { SessionStore } from '../../sessions/store.ts'
import { type Clock, systemClock } from '../../time.ts'
import type { Circuit } from '../circuit.ts'
import { type Connection, failClosed, makeRedisCircuit, untilReplicated } from './client.ts'
import { makeNames, type Names } from './names.ts'
import { decodeRecord, encodeClient } from './record.ts'
import { adopt, announce, defineScripts, type ReadScript, revoke, rotate, start } from './scripts.ts'

export interface RedisSessionsOptions {
  readonly names?: Names
  /** Shared with whatever else uses the connection. */
  readonly circuit?: Circuit
  /**
   * For reads, which hand nothing out. What changes a session goes by Redis' own clock, so hosts need not agree on the
   * time.
   */
  readonly clock?: Clock
  /** Tests put another clock into the scripts. */
  readonly readScript?: ReadScript
}

/** Sessions that are announced with one command. */
const batch = 500

/**
 * Sessions in Redis: one command a login, and one a refresh. `window` is how long a revocation matters, in whole
 * seconds.
 */
export function openRedisSessions(
  redis: Connection,
  policy: SessionPolicy,
  window: number,
  { names = makeNames(), circuit = makeRedisCircuit(redis), clock = systemClock, readScript }: RedisSessionsOptions = {}
): SessionStore {
  defineScripts(redis, readScript)
  // Fields of a hash do not expire by themselves.
  const unlessOver = (session: Session | undefined): Session | undefined =>
    session !== undefined && session.expiresAt > clock() ? session : undefined

  /** Tells every worker of sessions that were marked as ended, and then forgets them. */
  const finish = async (userId: string, sids: readonly string[]): Promise<void> => {
    const key = names.sessions(userId)
    for (let first = 0; first < sids.length; first += batch) {
      const some = sids.slice(first, first + batch)
      await announce(redis, names.feed, window, some)
      await Promise.all([untilReplicated(redis, key), untilReplicated(redis, names.feed)])
      await redis.hdel(key, ...some.flatMap(fieldsOf))
    }
  }

  const store = failClosed<Omit<SessionStore, 'close'>>(circuit, {
    async start(userId, client, lifetime = policy.lifetime) {
      const sid = randomId()
      const own = { ...policy, lifetime }
      const { now, ended } = await start(redis, names.sessions(userId), sid, encodeClient(client), own)
      await finish(userId, ended)
      return { session: startSession(userId, sid, client, now, own), ended }
    },
    async adopt(token, client) {
      const { userId, sid } = token
      const keys = [names.sessions(userId), names.adopted(userId, sid), names.ended(userId)] as const
      return await adopt(redis, keys, token, encodeClient(client), policy)
    },
    async isSpent({ userId, sid, issuedAt }) {
      const [adopted, ended] = await redis.mget(names.adopted(userId, sid), names.ended(userId))
      return adopted !== null || (ended != null && issuedAt <= Number(ended))
    },
    async rotate(presented, rotates = policy.rotate) {
      const { userId, sid } = presented
      const verdict = await rotate(redis, names.sessions(userId), presented, { ...policy, rotate: rotates })
      if (verdict.kind === 'reused' || verdict.kind === 'ended') await finish(userId, [sid])
      return verdict.kind === 'ended' ? { kind: 'unknown' } : verdict
    },
    async find(userId, sid) {
      const [record, client] = await redis.hmgetBuffer(names.sessions(userId), ...fieldsOf(sid))
      return record ? unlessOver(decodeRecord(userId, sid, record, client ?? null)) : undefined
    },
    async list(userId) {
      const fields = await readHash(redis, names.sessions(userId))
      return [...fields]
        .filter(([name]) => name.length === 32)
        .map(([sid, record]) => unlessOver(decodeRecord(userId, sid, record, fields.get(`${sid}63`) ?? null)))
        .filter((session) => session !== undefined)
        .sort((a, b) => b.createdAt - a.createdAt)
    },
    async revoke(userId, sid) {
      const ended = await revoke(redis, [names.sessions(userId), names.ended(userId)], 'one', sid, 0)
      await finish(userId, ended)
      return ended.length > 0
    },
    async revokeAll(userId, kept = '') {
      const memory = policy.adopts ? longestForeignLife : 0
      const ended = await revoke(redis, [names.sessions(userId), names.ended(userId)], 'others', kept, memory)
      await finish(userId, ended)
      return ended
    },
    async revokeToken(jti) {
      await announce(redis, names.feed, window, [jti])
      await untilReplicated(redis, names.feed)
    },
    async ping() {
      await redis.ping()
    }
  })
  // To close is not for the circuit to refuse.
  return { ...store, close: async () => redis.disconnect() }
}

/** The two fields of a session: its record and its client. */
function fieldsOf(sid: string): [record: Buffer, client: Buffer] {
  const bytes = Buffer.from(sid, 'hex')
  return [bytes, Buffer.concat([bytes, Buffer.from('c')])]
}

/** A hash by the hex of its field names. ioredis' own hgetall would turn these, which are bytes, into text. */
async function readHash(redis: Connection, key: string): Promise<ReadonlyMap<string, Buffer>> {
  const flat = (await redis.callBuffer('HGETALL', key)) as Buffer[]
  const hash = new Map<string, Buffer>()
  for (let i = 0; i + 1 < flat.length; i += 2) hash.set((flat[i] as Buffer).toString('hex'), flat[i + 1] as Buffer)
  return hash
}

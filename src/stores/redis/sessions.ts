import type { Redis } from 'ioredis'
import { randomId } from '../../random.ts'
import { type Session, type SessionPolicy, startSession } from '../../sessions/session.ts'
import type { SessionStore } from '../../sessions/store.ts'
import { type Clock, systemClock } from '../../time.ts'
import { failClosed } from './client.ts'
import { makeNames, type Names } from './names.ts'
import { decodeRecord, encodeClient } from './record.ts'
import { defineScripts, type ReadScript, revoke, rotate, start } from './scripts.ts'

export interface RedisSessionsOptions {
  readonly names?: Names
  /** For reads, which hand nothing out. What changes a session goes by Redis' own clock, so hosts need not agree on the time. */
  readonly clock?: Clock
  /** Tests put another clock into the scripts. */
  readonly readScript?: ReadScript
}

/** Sessions in Redis: one command a method. */
export function openRedisSessions(
  redis: Redis,
  policy: SessionPolicy,
  { names = makeNames(), clock = systemClock, readScript }: RedisSessionsOptions = {}
): SessionStore {
  defineScripts(redis, readScript)
  // Fields of a hash do not expire by themselves.
  const isLive = (session: Session): boolean => session.expiresAt > clock()
  const fields = (sid: string): [record: Buffer, client: Buffer] => {
    const bytes = Buffer.from(sid, 'hex')
    return [bytes, Buffer.concat([bytes, Buffer.from('c')])]
  }
  const store: SessionStore = {
    async start(userId, client) {
      const sid = randomId()
      const { now, ended } = await start(redis, names.sessions(userId), sid, encodeClient(client), policy)
      return { session: startSession(userId, sid, client, now, policy), ended }
    },
    rotate: (presented) => rotate(redis, names.sessions(presented.userId), presented, policy),
    async find(userId, sid) {
      const [record, client] = await redis.hmgetBuffer(names.sessions(userId), ...fields(sid))
      const session = record ? decodeRecord(userId, sid, record, client ?? null) : undefined
      return session !== undefined && isLive(session) ? session : undefined
    },
    async list(userId) {
      // Not hgetallBuffer: it turns the field names, which are bytes here, into text.
      const hash = (await redis.callBuffer('HGETALL', names.sessions(userId))) as Buffer[]
      const values = new Map(
        hash.flatMap((name, index) => (index % 2 === 0 ? [[name.toString('hex'), hash[index + 1]]] : [])) as [
          string,
          Buffer
        ][]
      )
      return [...values]
        .filter(([name]) => name.length === 32)
        .map(([sid, record]) => decodeRecord(userId, sid, record, values.get(`${sid}63`) ?? null))
        .filter(isLive)
        .sort((a, b) => b.createdAt - a.createdAt)
    },
    revoke: (userId, sid) => revoke(redis, names.sessions(userId), sid),
    async ping() {
      await redis.ping()
    },
    async close() {
      redis.disconnect()
    }
  }
  return failClosed(store)
}

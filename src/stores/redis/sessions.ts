import type { Redis } from 'ioredis'
import { randomId } from '../../random.ts'
import { type Session, type SessionPolicy, startSession } from '../../sessions/session.ts'
import type { SessionStore } from '../../sessions/store.ts'
import { systemClock } from '../../time.ts'
import { failClosed } from './client.ts'
import { makeNames, type Names } from './names.ts'
import { decodeRecord, encodeClient } from './record.ts'
import { defineScripts, rotate, start } from './scripts.ts'

/** Sessions in Redis: one command a method. Its clock is the one that counts, so hosts need not agree on the time. */
export function openRedisSessions(redis: Redis, policy: SessionPolicy, names: Names = makeNames()): SessionStore {
  defineScripts(redis)
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
      return record ? unlessOver(decodeRecord(userId, sid, record, client ?? null)) : undefined
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
        .filter(unlessOver)
        .sort((a, b) => b.createdAt - a.createdAt)
    },
    async revoke(userId, sid) {
      return (await redis.hdel(names.sessions(userId), ...fields(sid))) > 0
    },
    async ping() {
      await redis.ping()
    },
    async close() {
      redis.disconnect()
    }
  }
  return failClosed(store)
}

/** Fields of a hash do not expire by themselves. This host's clock is good enough here: nothing is handed out by it. */
const unlessOver = (session: Session): Session | undefined => (session.expiresAt > systemClock() ? session : undefined)

import { setTimeout as sleep } from 'node:timers/promises'
import { decide } from '../../src/sessions/rotation.ts'
import type { Session, SessionPolicy } from '../../src/sessions/session.ts'
import type { SessionStore } from '../../src/sessions/store.ts'
import type { Connection } from '../../src/stores/redis/client.ts'
import type { Violation } from './invariants.ts'
import type { Fault } from './world.ts'

/** A store with a fault in it, and the invariant that it breaks. */
export interface Mutant extends Fault {
  readonly name: string
  readonly breaks: Violation['invariant']
  /** It needs connections that hang to show. */
  readonly hangs?: number
}

const found = "if not record then return {'unknown'} end\n"
const expire =
  "  if redis.call('TTL', sessions) < expires_at - now then redis.call('EXPIREAT', sessions, expires_at) end\n"
const markReused = '    mark_ended(sessions, sid, record)\n'

const onlyPredecessor = ['{rotated_at, second_at, third_at, fourth_at}', '{rotated_at}'] as const

/** Faults that somebody could have made in lua/ or in the store around it. */
export const makeMutants = (policy: SessionPolicy): readonly Mutant[] => [
  {
    name: 'a retry hands out a new generation',
    breaks: 1,
    scripts: { rotate: [["verdict = 'retried'", "verdict, generation, rotated_at = 'retried', generation + 1, now"]] }
  },
  {
    name: 'check and set in two calls',
    breaks: 1,
    wrap: (store, redis, names, clock) => ({
      ...store,
      async rotate(presented) {
        const session = await store.find(presented.userId, presented.sid)
        await sleep(2)
        const { verdict, session: after } = decide(session, presented.generation, clock(), policy)
        const key = names.sessions(presented.userId)
        if (after !== undefined) await redis.hset(key, Buffer.from(after.sid, 'hex'), encodeRecord(after))
        else if (session !== undefined) await store.revoke(presented.userId, presented.sid)
        return verdict
      }
    })
  },
  {
    name: 'the grace is ignored',
    breaks: 1,
    scripts: { rotate: [['if grace == 0 then', 'if true then']] }
  },
  {
    name: 'the grace ends a second early',
    breaks: 1,
    scripts: {
      rotate: [
        ['now - superseded_at <= grace', 'now - superseded_at < grace'],
        ['now - anchor_at <= grace', 'now - anchor_at < grace']
      ]
    }
  },
  {
    name: 'only the predecessor is in the grace',
    breaks: 1,
    scripts: {
      rotate: [onlyPredecessor, ['return presented >= anchor_generation and now - anchor_at <= grace', 'return false']]
    }
  },
  {
    name: 'the anchor moves at each rotation',
    breaks: 1,
    scripts: { rotate: [onlyPredecessor, ['if now - anchor_at > grace then', 'if true then']] }
  },
  {
    name: 'a command is sent again when its client has long given up',
    breaks: 1,
    hangs: 2,
    wrap: (store, redis) => {
      // As ioredis does by itself; clients give up sooner here, so that more of them do.
      Object.assign(redis.options, { maxRetriesPerRequest: 20, enableOfflineQueue: true, commandTimeout: 150 })
      return store
    }
  },
  {
    name: 'the grace counts from the last retry',
    breaks: 2,
    scripts: { rotate: [["verdict = 'retried'", "verdict, anchor_at = 'retried', now"]] }
  },
  {
    name: 'the grace counts from the last rotation of a burst',
    breaks: 2,
    scripts: {
      rotate: [
        ['generation, rotated_at = presented + 1, now', 'generation, rotated_at, anchor_at = presented + 1, now, now']
      ]
    }
  },
  {
    name: 'the grace ends a second late',
    breaks: 2,
    scripts: { rotate: [['tonumber(ARGV[3]), tonumber(ARGV[4])', 'tonumber(ARGV[3]), tonumber(ARGV[4]) + 1']] }
  },
  {
    name: 'any ancestor may come late',
    breaks: 2,
    scripts: { rotate: [['presented ~= generation - 1 or ', '']] }
  },
  {
    name: 'late retries are not rationed',
    breaks: 2,
    scripts: {
      rotate: [['late_generation == 0 or late_generation == generation or generation - late_generation >= 8', 'true']]
    }
  },
  {
    name: 'there are no late retries',
    breaks: 'replay',
    scripts: { rotate: [['if not rotates or presented ~= generation - 1', 'if true or presented ~= generation - 1']] }
  },
  {
    name: 'a reuse does not end the session',
    breaks: 2,
    scripts: { rotate: [[markReused, '']] },
    wrap: keepRecords
  },
  {
    name: 'a reuse is refused as unknown, and forgotten',
    breaks: 2,
    scripts: { rotate: [[`${markReused}    return {'reused'}`, "    return {'unknown'}"]] }
  },
  {
    name: 'a revocation finds nothing',
    breaks: 3,
    scripts: { revoke: [['mark_ended(sessions, sid, record)\nreturn 1', 'return 0']] }
  },
  {
    name: 'the end of all sessions leaves them under their name',
    breaks: 3,
    scripts: { detach: [["redis.call('RENAME', sessions, ending)", "redis.call('COPY', sessions, ending)"]] }
  },
  {
    name: 'a revocation is answered before it is carried out',
    breaks: 3,
    wrap: (store) => ({
      ...store,
      async revoke(userId, sid) {
        setTimeout(() => store.revoke(userId, sid).catch(() => {}), 50)
        return (await store.find(userId, sid)) !== undefined
      }
    })
  },
  {
    name: 'a rotation does not see that the session is marked as ended',
    breaks: 3,
    scripts: {
      rotate: [
        ["if generation == ENDED then return {'ended'} end", 'if generation == ENDED then generation = presented end']
      ]
    },
    wrap: keepRecords
  },
  {
    name: 'a rotation under way writes back the session that was revoked meanwhile',
    breaks: 3,
    wrap: (store, redis, names) => ({
      ...store,
      async rotate(presented) {
        const key = names.sessions(presented.userId)
        const sid = Buffer.from(presented.sid, 'hex')
        const verdict = await store.rotate(presented)
        const record = 'newest' in verdict ? await redis.hgetBuffer(key, sid) : null
        await sleep(60)
        if (record !== null) await redis.hset(key, sid, record)
        return verdict
      }
    })
  },
  {
    name: 'a session that the store does not know is recovered',
    breaks: 3,
    scripts: {
      rotate: [[found, "if not record then return {'recovered', presented + 1, now, now + lifetime} end\n"]]
    }
  },
  {
    name: 'a key without an expiry',
    breaks: 4,
    scripts: { record: [[expire, '']] }
  },
  {
    name: 'an expiry that rotation does not prolong',
    breaks: 4,
    scripts: { rotate: [['keep_until(sessions, expires_at)\n', '']] }
  },
  {
    name: 'a field is left behind at each refresh',
    breaks: 4,
    scripts: { rotate: [[found, `${found}redis.call('HSET', sessions, sid .. presented, now)\n`]] }
  },
  {
    name: 'a key is left behind at each refresh',
    breaks: 4,
    scripts: { rotate: [[found, `${found}redis.call('SET', sessions .. presented, now, 'EX', 1000)\n`]] }
  },
  {
    name: 'rotation moves the absolute end',
    breaks: 5,
    scripts: { rotate: [['math.min(now + lifetime, absolute_exp)', 'now + lifetime']] }
  },
  {
    name: 'a session that has expired is refreshed',
    breaks: 5,
    scripts: { rotate: [["if now >= expires_at then return {'unknown'} end\n", '']] }
  },
  {
    name: 'a revoked session is reported as reused',
    breaks: 1,
    scripts: { rotate: [["then return {'ended'} end", "then return {'reused'} end"]] }
  },
  {
    name: 'a rotation is reported as a retry',
    breaks: 'replay',
    scripts: { rotate: [["rotates and 'rotated' or", "rotates and 'retried' or"]] }
  }
]

/** What was marked as ended is not deleted. */
function keepRecords(store: SessionStore, redis: Connection): SessionStore {
  redis.hdel = async () => 0
  return store
}

/** As the scripts write it: src/stores/redis/record.ts. */
function encodeRecord(session: Session): Buffer {
  const { generation, rotatedAt, createdAt, absoluteExp, expiresAt, anchorGeneration, anchorAt, lastUsedAt } = session
  const times = [rotatedAt, createdAt, absoluteExp, expiresAt]
  const numbers = [
    generation,
    ...times,
    anchorGeneration,
    anchorAt,
    lastUsedAt,
    ...session.supersededAt,
    session.lateGeneration
  ]
  const record = Buffer.alloc(4 * numbers.length)
  for (const [index, number] of numbers.entries()) record.writeUInt32BE(number, 4 * index)
  return record
}

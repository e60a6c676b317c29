/**
 * One user with 100,000 sessions, made before there was a limit: what each call on them takes, and how long it blocks
 * Redis and the requests of another user. On Redis and on the embedded file:
 *
 *   npm run build && node dist/bench/one-user.js [sessions]
 *
 * A call is one method of the session store; deactivating a user is ending all of their sessions. `other` is the longest
 * that a refresh of another user took meanwhile, `Redis` the longest command (SLOWLOG; 0.0 when all were shorter than 0.5 ms), both in milliseconds.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { randomId } from '../src/random.ts'
import type { SessionPolicy } from '../src/sessions/session.ts'
import type { SessionStore } from '../src/sessions/store.ts'
import { openEmbedded } from '../src/stores/embedded/engine.ts'
import { openEmbeddedSessions } from '../src/stores/embedded/sessions.ts'
import { makeNames } from '../src/stores/redis/names.ts'
import { openRedisSessions } from '../src/stores/redis/sessions.ts'
import { systemClock } from '../src/time.ts'
import { aDevice, aPolicy } from '../test/support/makers.ts'
import { startRedis } from '../test/support/redis.ts'

const count = Number(process.argv[2] ?? 100_000)
const window = 360
const policy: SessionPolicy = aPolicy({ maxPerUser: 1000 })
const goal = 10

/** A store with a user, `many`, who has all these sessions, and how long its longest command took since the last question. */
interface Subject {
  readonly name: string
  readonly store: SessionStore
  readonly sids: readonly string[]
  fill(userId: string): Promise<readonly string[]>
  longestCommand(): Promise<number | undefined>
  close(): Promise<void>
}

async function openRedisSubject(): Promise<Subject> {
  const server = await startRedis()
  const redis = new Redis(server.options)
  // Shorter ones would fill this process with garbage that is then collected during the next call.
  await redis.config('SET', 'slowlog-log-slower-than', '500')
  await redis.config('SET', 'slowlog-max-len', '100000')
  const names = makeNames()
  const fill = async (userId: string): Promise<readonly string[]> => {
    const sids = Array.from({ length: count }, randomId)
    const key = names.sessions(userId)
    const now = systemClock()
    for (let first = 0; first < count; first += 1000) {
      const fields = sids.slice(first, first + 1000).flatMap((sid, index) => {
        const bytes = Buffer.from(sid, 'hex')
        return [bytes, oldRecord(now - count + first + index, now), Buffer.concat([bytes, Buffer.from('c')]), client]
      })
      await redis.hset(key, ...fields)
    }
    await redis.expire(key, policy.absoluteLifetime)
    return sids
  }
  return {
    name: 'Redis',
    store: openRedisSessions(redis, policy, window, { names }),
    sids: await fill('many'),
    fill,
    async longestCommand() {
      const entries = (await redis.slowlog('GET', 100_000)) as [id: number, at: number, microseconds: number][]
      await redis.slowlog('RESET')
      return Math.max(0, ...entries.map(([, , microseconds]) => microseconds)) / 1000
    },
    async close() {
      redis.disconnect()
      await server.stop()
    }
  }
}

const client = Buffer.from('203.0.113.7 (Windows NT 10.0; Win64; x64) Chrome/120.0.0.0')

/** As written before there was a limit: eleven numbers (src/stores/redis/record.ts). */
function oldRecord(createdAt: number, now: number): Buffer {
  const numbers = [0, createdAt, createdAt, createdAt + policy.absoluteLifetime, now + policy.lifetime, 0, 0, createdAt]
  const record = Buffer.alloc(44)
  for (const [index, number] of numbers.entries()) record.writeUInt32BE(number, 4 * index)
  return record
}

async function openEmbeddedSubject(): Promise<Subject> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-one-user-'))
  const engine = openEmbedded(folder)
  const store = await openEmbeddedSessions(engine, policy, window, systemClock)
  const fill = async (userId: string): Promise<readonly string[]> => {
    const sids = Array.from({ length: count }, randomId)
    const now = systemClock()
    engine.transaction(() => {
      for (const [index, sid] of sids.entries())
        engine.run(
          `INSERT INTO keyturn_sessions (sid, user_id, generation, rotated_at, created_at, absolute_exp, expires_at,
             anchor_generation, anchor_at, last_used_at, ip, user_agent, superseded_at)
           VALUES ($1, $2, 0, $3, $3, $4, $4, 0, 0, $3, $5, $6, '[0,0,0]')`,
          [sid, userId, now - count + index, now + policy.lifetime, aDevice.ip, aDevice.userAgent]
        )
    })
    return sids
  }
  return {
    name: 'embedded',
    store,
    sids: await fill('many'),
    fill,
    longestCommand: async () => undefined,
    async close() {
      await engine.close()
      rmSync(folder, { recursive: true })
    }
  }
}

const milliseconds = (number: number | undefined): string => (number === undefined ? '' : number.toFixed(1)).padStart(9)

/** Runs a call while another user refreshes without a pause; prints how long each took. */
async function measure({ name, store, longestCommand }: Subject, what: string, call: () => Promise<unknown>) {
  const userId = 'other'
  const { sid } = (await store.start(userId, aDevice)).session
  let [generation, longest, isOver] = [0, 0, false]
  const refresh = async (): Promise<void> => {
    const began = performance.now()
    await store.rotate({ userId, sid, generation: generation++ })
    longest = Math.max(longest, performance.now() - began)
  }
  for (let round = 0; round < 50; round++) await refresh()
  await longestCommand()
  longest = 0
  const refreshing = (async () => {
    while (!isOver) {
      await refresh()
      await nextTurn()
    }
  })()
  const began = performance.now()
  const result = await call()
  const took = performance.now() - began
  isOver = true
  await refreshing
  const blocked = await longestCommand()
  const over = Math.max(longest, blocked ?? 0) > goal ? `  over ${goal} ms` : ''
  const columns = [milliseconds(took), milliseconds(blocked), milliseconds(longest)].join(' ')
  console.log(`${name.padEnd(10)} ${what.padEnd(28)} ${columns}${over}  ${described(result)}`)
}

const described = (result: unknown): string => (Array.isArray(result) ? `${result.length} sessions` : '')

async function measureAll(subject: Subject): Promise<void> {
  const { store, sids, fill } = subject
  const userId = 'many'
  const login = async () => (await store.start(userId, aDevice)).ended
  await measure(subject, 'login', login)
  await measure(subject, 'login again', login)
  const newest = sids.at(-1) ?? ''
  await measure(subject, 'refresh', () => store.rotate({ userId, sid: newest, generation: 0 }))
  await measure(subject, 'list, first page', () => store.list(userId))
  await measure(subject, 'list, a page from the middle', async () => {
    const middle = await store.find(userId, sids[count / 2] ?? '')
    return store.list(userId, { after: middle })
  })
  await measure(subject, 'end one', () => store.revoke(userId, newest))
  await measure(subject, 'end all but one', () => store.revokeAll(userId, sids.at(-2)))
  await fill('deactivated')
  await measure(subject, 'deactivate: end all', () => store.revokeAll('deactivated'))
  await measure(subject, 'login afterwards', login)
}

console.log(`${count} sessions of one user; milliseconds`)
console.log(`${''.padEnd(39)} ${['takes', 'Redis', 'other'].map((head) => head.padStart(9)).join(' ')}`)
for (const open of [openRedisSubject, openEmbeddedSubject]) {
  const subject = await open()
  try {
    await measureAll(subject)
  } finally {
    await subject.close()
  }
}

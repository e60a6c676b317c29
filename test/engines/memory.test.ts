/*
 * What a session costs in Redis. The suite measures 6,000 sessions; KEYTURN_SESSIONS=100000 measures more.
 */
import { Redis } from 'ioredis'
import t from 'tap'
import { describeDevice } from '../../src/sessions/session.ts'
import { makeNames } from '../../src/stores/redis/names.ts'
import { openRedisSessions } from '../../src/stores/redis/sessions.ts'
import { aPolicy } from '../support/makers.ts'
import { needsRedis } from '../support/needs.ts'

const count = Number(process.env.KEYTURN_SESSIONS ?? 6_000)
const refreshes = 20
const browser =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36'

const server = await needsRedis(t, { own: true })
const redis = new Redis(server.options)
t.teardown(() => redis.disconnect())
const names = makeNames()
const store = openRedisSessions(redis, aPolicy(), 360, { names })

const usedBytes = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
const userOf = (index: number): string => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`

/** Does `work` for every index, some hundred at a time. */
async function forAll(work: (index: number) => Promise<void>): Promise<void> {
  const waiting = Array.from({ length: 200 }, async (_, lane) => {
    for (let index = lane; index < count; index += 200) await work(index)
  })
  await Promise.all(waiting)
}

t.test('a session is constant in size, whatever is done with it', { timeout: 600_000 }, async (t) => {
  // The scripts are in the server, and the tables of its keyspace are there, before anything is measured.
  const { session } = await store.start('warm-up', describeDevice({ ip: '192.0.2.1', headers: {} }))
  await store.rotate({ userId: 'warm-up', sid: session.sid, generation: 0 })
  const empty = await usedBytes()

  // The worst case: every user has one session only, so that nothing is shared.
  const sids: string[] = []
  await forAll(async (index) => {
    const device = describeDevice({ ip: `203.0.113.${index % 256}`, headers: { 'user-agent': browser } })
    sids[index] = (await store.start(userOf(index), device)).session.sid
  })
  const fresh = ((await usedBytes()) - empty) / count
  t.comment(`${count} sessions of as many users: ${fresh.toFixed(1)} bytes each`)
  t.ok(fresh <= 350, 'at most 350 bytes')

  for (let generation = 0; generation < refreshes; generation++) {
    await forAll(async (index) => {
      await store.rotate({ userId: userOf(index), sid: sids[index] ?? '', generation })
    })
  }
  const used = ((await usedBytes()) - empty) / count
  t.comment(`after ${refreshes} refreshes each: ${used.toFixed(1)} bytes each`)
  t.ok(Math.abs(used - fresh) <= 2, 'the same after refreshes')
  t.equal(await redis.dbsize(), count + 1)

  let cursor = '0'
  let eternal = 0
  do {
    const [next, keys] = await redis.scan(cursor, 'COUNT', 5000)
    const ttls = (await redis.pipeline(keys.map((key) => ['ttl', key])).exec()) ?? []
    eternal += ttls.filter(([, ttl]) => (ttl as number) < 0).length
    cursor = next
  } while (cursor !== '0')
  t.equal(eternal, 0, 'every key expires')
})

import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import t from 'tap'
import { openRedis } from '../../../src/stores/redis/client.ts'
import { makeNames } from '../../../src/stores/redis/names.ts'
import type { ReadScript } from '../../../src/stores/redis/scripts.ts'
import { openRedisSessions } from '../../../src/stores/redis/sessions.ts'
import { makeManualClock, systemClock } from '../../../src/time.ts'
import { sessionStoreSuite } from '../../conformance/sessions.ts'
import { aDevice, aPolicy } from '../../support/makers.ts'
import { needsRedis } from '../../support/needs.ts'

const server = await needsRedis(t)
const redis = new Redis(server.options)
t.teardown(() => redis.disconnect())

// The scripts as they are, but for their clock: it is a key that the suite steps.
const clock = makeManualClock(systemClock())
/** How long a revocation matters, in seconds. */
const window = 360
const prefix = `sessions-test-${process.pid}:`
const readScript: ReadScript = (name) => {
  const text = readFileSync(new URL(import.meta.resolve(`#lua/${name}.lua`)), 'utf8')
  return text.replaceAll("redis.call('TIME')[1]", `redis.call('GET', '${prefix}clock')`)
}
const setClock = () => redis.set(`${prefix}clock`, clock())

t.test('sessions in Redis', async (t) => {
  await setClock()
  await sessionStoreSuite(t, async (policy) => ({
    store: openRedisSessions(redis, policy, window, { names: makeNames(prefix), clock, readScript }),
    now: clock,
    async advance(seconds) {
      clock.advance(seconds)
      await setClock()
    }
  }))
})

t.test('every key but the clock expires, with its last session', async (t) => {
  // -1 is a key that does not expire; one that has expired meanwhile is -2.
  for (const key of await redis.keys(`${prefix}{*`)) t.not(await redis.ttl(key), -1, key)
})

t.test('by its own clock, a session is what its tokens say', async (t) => {
  const store = openRedisSessions(new Redis(server.options), aPolicy(), window, { names: makeNames(`${prefix}real:`) })
  const { session } = await store.start('{odd} user%', { ip: '2001:db8::1', userAgent: 'ü'.repeat(100) })
  t.ok(Math.abs(session.createdAt - systemClock()) <= 1)
  const found = await store.find('{odd} user%', session.sid)
  t.same({ ...found, device: session.device }, session)
  t.match(found?.device, { ip: '2001:db8::1', userAgent: /^ü{24}$/ }, 'cut at a whole character')
  await store.close()
})

t.test('an adoption is forgotten once its token has expired', async (t) => {
  const names = makeNames(`${prefix}adopted:`)
  const store = openRedisSessions(redis, aPolicy(), window, { names })
  const token = { userId: 'u', sid: 'a'.repeat(32), issuedAt: 0, expiresAt: systemClock() + 500 }
  t.equal(await store.adopt(token, aDevice), true)
  const seconds = await redis.ttl(names.adopted('u', token.sid))
  t.ok(seconds > 490 && seconds <= 500, `${seconds} s`)
})

t.test('sessions that are over do not stay beside live ones', async (t) => {
  const names = makeNames(`${prefix}over:`)
  const store = openRedisSessions(redis, aPolicy({ lifetime: 100, maxPerUser: 10_000 }), window, {
    names,
    clock,
    readScript
  })
  for (let login = 0; login < 2000; login++) await store.start('u', aDevice)
  clock.advance(100)
  await setClock()
  for (let login = 0; login < 1000; login++) await store.start('u', aDevice)
  const kept = (await redis.hlen(names.sessions('u'))) / 2
  t.ok(kept < 1200, `${kept} records for 1000 live sessions`)
})

t.test('a session of a version without late retries is read, refreshed and retried', async (t) => {
  const names = makeNames(`${prefix}old:`)
  const store = openRedisSessions(redis, aPolicy({ lateRetry: 3600 }), window, { names, clock, readScript })
  const { sid } = (await store.start('u', aDevice)).session
  const [key, field] = [names.sessions('u'), Buffer.from(sid, 'hex')]
  const shorten = async () => redis.hset(key, field, (await redis.hgetBuffer(key, field))?.subarray(0, 44) ?? '')
  await shorten()
  t.match(await store.find('u', sid), { generation: 0, lateGeneration: 0 })
  t.equal((await store.rotate({ userId: 'u', sid, generation: 0 })).kind, 'rotated')
  await shorten()
  clock.advance(60)
  await setClock()
  t.equal((await store.rotate({ userId: 'u', sid, generation: 0 })).kind, 'late')
  await shorten()
  t.equal((await store.list('u')).length, 1)
  t.equal(await store.revoke('u', sid), true)
})

t.test('a server that does not answer is a store that is down', async (t) => {
  await t.rejects(openRedis('redis://127.0.0.1:1', { verifyTls: true }), { code: 'STORE_DOWN', retryAfter: 1 })
})

t.test('many sessions are estimated from a sample', async (t) => {
  const many = `${prefix}many:`
  const pipeline = redis.pipeline()
  for (let n = 0; n < 3000; n++) {
    pipeline.hset(`${many}{user-${n}}`, 'record', '', 'device', '', 'oldest', '')
    pipeline.set(`${many}count:${n}`, '')
  }
  await pipeline.exec()
  const before = await redis.dbsize()
  const store = openRedisSessions(redis, aPolicy(), window, { names: makeNames(many) })
  const estimate = await store.estimateCount()
  // Of 500 keys about half are users: the standard error is 5 percent.
  t.ok(estimate > 2250 && estimate < 3750, `${estimate} of 3000, among ${before} keys`)
})

t.test('ends of the same moment share their wait for replicas', async (t) => {
  const store = openRedisSessions(redis, aPolicy(), window, { names: makeNames(`${prefix}shared:`) })
  const users = Array.from({ length: 100 }, (_, index) => `user-${index}`)
  await Promise.all(users.map((userId) => store.start(userId, aDevice)))
  const calls = async () => Number(/^cmdstat_info:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0)
  const before = await calls()
  await Promise.all(users.map((userId) => store.revokeAll(userId)))
  const asked = (await calls()) - before
  t.ok(asked < 50, `the server was asked for its replicas ${asked} times`)
})

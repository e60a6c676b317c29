import { Redis } from 'ioredis'
import t from 'tap'
import { trustedFor } from '../../../src/passwords/guessing.ts'
import { openRedis } from '../../../src/stores/redis/client.ts'
import { openRedisGuesses } from '../../../src/stores/redis/guesses.ts'
import { makeNames } from '../../../src/stores/redis/names.ts'
import { guessStoreSuite } from '../../conformance/guesses.ts'
import { needsRedis } from '../../support/needs.ts'
import { stepRedis } from '../../support/stepped-redis.ts'

const server = await needsRedis(t, { tcp: true, own: true })
const redis = new Redis(server.options)
t.teardown(() => redis.disconnect())

const prefix = `guesses-test-${process.pid}:`
const { readScript, ...clock } = await stepRedis(redis, prefix)

t.test('guesses in Redis', async (t) => {
  await guessStoreSuite(t, async () => ({
    store: openRedisGuesses(redis, { names: makeNames(prefix), readScript }),
    ...clock
  }))
})

t.test('every key expires: a budget when it is whole again, a source after 30 days', async (t) => {
  const own = new Redis(server.options)
  t.teardown(() => own.disconnect())
  const names = makeNames(`${prefix}real:`)
  const store = openRedisGuesses(own, { names })
  const charge = { key: 'a', budget: { tries: 10, window: 600 } }
  for (let taken = 0; taken < 3; taken++) t.equal(await store.take([charge]), 0)
  const seconds = await redis.ttl(names.guesses('a'))
  t.ok(seconds > 170 && seconds <= 180, `${seconds} s, for three minutes that are missing`)
  for (let given = 0; given < 5; given++) await store.giveBack([charge])
  t.ok((await redis.ttl(names.guesses('a'))) <= 1)
  await store.remember('b')
  const days = await redis.ttl(names.knownSource('b'))
  t.ok(days > trustedFor - 10 && days <= trustedFor)
  // -1 is a key that does not expire; one that has expired meanwhile is -2.
  for (const key of await redis.keys(`${prefix}*:*`)) t.not(await redis.ttl(key), -1, key)
})

t.test(
  'a server that is away is a store that is down',
  { skip: !server.isPrivate && 'it stops the server' },
  async (t) => {
    const connection = await openRedis(server.url, { verifyTls: true })
    t.teardown(() => connection.disconnect())
    const store = openRedisGuesses(connection, { names: makeNames(prefix) })
    await server.kill()
    const down = { code: 'STORE_DOWN', retryAfter: 1 }
    await t.rejects(store.take([{ key: 'a', budget: { tries: 1, window: 1 } }]), down)
    await t.rejects(store.isKnown('b'), down)
  }
)

/* States of a Redis that responds, in which Keyturn could not work. */
import t from 'tap'
import { type Connection, openRedis } from '../../../src/stores/redis/client.ts'
import { makeNames } from '../../../src/stores/redis/names.ts'
import { stateFault } from '../../../src/stores/redis/state.ts'
import { needsRedis, withoutRedis } from '../../support/needs.ts'

t.test(
  'a server that cannot be used is named with the remedy, and nothing stays behind',
  { skip: withoutRedis() },
  async (t) => {
    const server = await needsRedis(t, { own: true, tcp: true })
    const redis: Connection = await openRedis(server.url, { verifyTls: true })
    t.teardown(() => redis.disconnect())
    const set = (name: string, value: string) => redis.call('CONFIG', 'SET', name, value)
    const { feed, epoch } = makeNames()
    t.equal(await stateFault(redis), undefined)
    t.same(await redis.keys('*'), [])

    const reads = t.capture(redis, 'get', redis.get)
    await stateFault(redis)
    t.equal(reads().length, 1, 'the epoch is read once')

    await set('maxmemory', '1')
    t.match(await stateFault(redis), /^It refuses writes \(OOM [^.]+\)\. Raise maxmemory\.$/)
    await set('maxmemory', '0')
    await set('min-replicas-to-write', '1')
    t.match(await stateFault(redis), /^It refuses writes \(NOREPLICAS [^.]+\)\. Connect the replicas/)
    await set('min-replicas-to-write', '0')
    t.equal(await stateFault(redis), undefined)

    for (const ours of ['1700000000', '1700000000 0 0-0', '1700000000 1 1700000000000-0']) {
      await redis.set(epoch, ours)
      t.equal(await stateFault(redis), undefined, ours)
    }
    await redis.del(epoch)

    await redis.set(feed, 'text')
    t.match(await stateFault(redis), /^The key keyturn:revocations is not a stream/)
    await redis.del(feed)
    await redis.set(epoch, 'text')
    t.match(await stateFault(redis), /^The key keyturn:epoch\S+ is not an epoch/)
    await redis.del(epoch)
    await redis.hset(epoch, 'field', '1')
    t.match(await stateFault(redis), /^The key keyturn:epoch\S+ is not an epoch/)
    await redis.del(epoch)

    await redis.call('REPLICAOF', '127.0.0.1', '1')
    t.match(await stateFault(redis), /^It refuses writes \(READONLY [^.]+\)\. REDIS_URL has to name the master\.$/)
  }
)

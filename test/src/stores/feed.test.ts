import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { randomId } from '../../../src/random.ts'
import type { Revocations } from '../../../src/sessions/revocations.ts'
import type { SessionStore } from '../../../src/sessions/store.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { followEmbeddedFeed } from '../../../src/stores/embedded/feed.ts'
import { openEmbeddedSessions } from '../../../src/stores/embedded/sessions.ts'
import { openReader, openRedis } from '../../../src/stores/redis/client.ts'
import { followRedisFeed } from '../../../src/stores/redis/feed.ts'
import { makeNames, type Names } from '../../../src/stores/redis/names.ts'
import { announce, defineScripts } from '../../../src/stores/redis/scripts.ts'
import { openRedisSessions } from '../../../src/stores/redis/sessions.ts'
import { systemClock } from '../../../src/time.ts'
import {
  aReplica,
  aToken,
  follow,
  login,
  type OpenedFeed,
  revocationFeedSuite,
  until,
  window
} from '../../conformance/feed.ts'
import { aDevice, aPolicy } from '../../support/makers.ts'
import { needsRedis, withoutRedis } from '../../support/needs.ts'
import type { RedisServer } from '../../support/redis.ts'

const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1 }

t.test('embedded', async (t) => {
  let folders = 0
  await revocationFeedSuite(t, async () => {
    const folder = join(t.testdirName, `${folders++}`)
    // Two connections to one file: the follower is not the announcer.
    const [writer, reader] = [openEmbedded(folder), openEmbedded(folder)]
    t.teardown(() => Promise.all([writer.close(), reader.close()]))
    await openEmbeddedSessions(writer, aPolicy(), window, systemClock)
    return {
      feed: { follow: async (replica) => followEmbeddedFeed(reader, replica) },
      openSessions: (policy) => openEmbeddedSessions(writer, policy, window, systemClock)
    }
  })
})

t.test('embedded: what another process has revoked is known at once, without a poll', async (t) => {
  const [writer, reader] = [openEmbedded(t.testdir()), openEmbedded(t.testdirName)]
  t.teardown(() => Promise.all([writer.close(), reader.close()]))
  const sessions = await openEmbeddedSessions(writer, aPolicy(), window, systemClock)
  const replica = aReplica()
  const follower = followEmbeddedFeed(reader, replica)
  t.teardown(() => follower.close())
  for (let each = 0; each < 100; each += 1) {
    const { userId, sid } = await login(sessions, `user-${each}`)
    t.notOk(replica.has(aToken(sid)))
    await sessions.revoke(userId, sid)
    // No timer has run since: `revoke` resolves in a microtask.
    if (!replica.has(aToken(sid))) return t.fail(`revocation ${each} is not known`)
  }
  t.pass()
})

/** A feed of its own on `server`, with what looks into it. */
interface OpenedRedisFeed extends OpenedFeed {
  readonly redis: Redis
  readonly names: Names
}

/** Resolves once this store reaches its server. */
const untilUp = (store: Pick<SessionStore, 'ping'>): Promise<number> =>
  until(
    () =>
      store.ping().then(
        () => true,
        () => false
      ),
    5000
  )

function openFeed(t: Pick<Test, 'teardown'>, server: RedisServer): OpenedRedisFeed {
  const url = server.url.startsWith('/') ? `redis://${server.url}` : server.url
  const names = makeNames(`feed-test-${randomId()}:`)
  const redis = new Redis(server.options)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return {
    redis,
    names,
    feed: {
      follow: async (replica) => followRedisFeed(await openReader(url, { verifyTls: true }), names, replica)
    },
    async openSessions(policy) {
      const connection = await openRedis(url, { verifyTls: true })
      t.teardown(() => connection.disconnect())
      return openRedisSessions(connection, policy, window, { names })
    }
  }
}

t.test('Redis', { skip: withoutRedis() }, async (t) => {
  const server = await needsRedis(t, { own: true })
  await revocationFeedSuite(t, async () => openFeed(t, server))

  await t.test('a reader that loses its connection again and again misses nothing', async (t) => {
    const { feed, redis, openSessions } = openFeed(t, server)
    const replica = await follow(t, feed)
    const store = await openSessions(aPolicy())
    const sids: string[] = []
    let killed = 0
    for (let each = 0; each < 100; each++) {
      const { userId, sid } = await login(store, `user-${each}`)
      killed += await killReaders(redis)
      await delay(10)
      await store.revoke(userId, sid)
      sids.push(sid)
    }
    t.ok(killed >= 5, `killed ${killed} times`)
    const late = await until(() => sids.every((sid) => replica.has(aToken(sid))), 3000)
    t.comment(`100 revocations while the reader was killed ${killed} times; all known ${late.toFixed(0)} ms later`)
  })

  await t.test('a session marked as ended but not announced is announced by the next call that finds it', (t) =>
    unannouncedSuite(t, () => openFeed(t, server))
  )

  await t.test('what no access token can outlive leaves the feed', async (t) => {
    const { feed, redis, names } = openFeed(t, server)
    defineScripts(redis)
    const some = () => Array.from({ length: 500 }, randomId)
    await announce(redis, names, 3600, 'sid', some())
    await announce(redis, names, 3600, 'sid', some())
    t.equal(await redis.xlen(names.feed), 1000)
    await delay(2000)
    await announce(redis, names, 1, 'sid', [randomId()])
    const kept = await redis.xlen(names.feed)
    t.ok(kept <= 101, `${kept} entries: whole nodes of a hundred are dropped, so one may be left`)
    await follow(t, feed)
    t.match(await redis.get(names.epoch), /^[1-9]\d* 0 /, 'which is not a loss')
  })
})

t.test('a Redis that fails', { skip: withoutRedis() || givenRedis() }, async (t) => {
  await t.test('killed and started again with what it wrote', async (t) => {
    const server = await needsRedis(t, { appendonly: true })
    const { feed, openSessions } = openFeed(t, server)
    const replica = await follow(t, feed)
    const store = await openSessions(aPolicy())
    const places = await Promise.all(Array.from({ length: 90 }, (_, each) => login(store, `user-${each}`)))
    const revoke = (from: number, to: number) =>
      Promise.all(places.slice(from, to).map(({ userId, sid }) => store.revoke(userId, sid)))
    await revoke(0, 30)
    await server.kill()
    await t.rejects(revoke(30, 31), down)
    await server.restart()
    await untilUp(store)
    // Some of these are in the feed before the reader is back, the others come later.
    await revoke(30, 60)
    await until(() => places.slice(0, 60).every(({ sid }) => replica.has(aToken(sid))), 5000)
    await revoke(60, 90)
    await until(() => places.every(({ sid }) => replica.has(aToken(sid))), 1000)
    const late = await follow(t, feed)
    t.ok(
      places.every(({ sid }) => late.has(aToken(sid))),
      'who comes new knows all, from before and after'
    )
    for (const place of places) t.equal((await store.rotate(place)).kind, 'unknown')
  })

  await t.test('emptied, or started again empty: what was known stays known, what is new is seen', async (t) => {
    const server = await needsRedis(t, { own: true })
    const { feed, redis, names, openSessions } = openFeed(t, server)
    const replica = await follow(t, feed)
    const store = await openSessions(aPolicy())
    const known: string[] = []
    const revokeOne = async (): Promise<number> => {
      const { userId, sid } = await login(store, 'ann')
      t.equal(await store.revoke(userId, sid), true)
      known.push(sid)
      return until(() => known.every((each) => replica.has(aToken(each))), 5000)
    }
    await revokeOne()
    await redis.flushall()
    await revokeOne()
    await server.restart()
    await untilUp(store)
    await revokeOne()

    // A server whose clock is behind that of the one before it writes smaller ids. The reader notices when nothing has come
    // for a second. The entry is kept for as much shorter as the clock is behind: windows have a minute to spare for that.
    await redis.flushall()
    const sid = randomId()
    await redis.xadd(names.feed, `${(systemClock() - 30) * 1000}-0`, 'id', Buffer.from(sid, 'hex'))
    const took = await until(() => replica.has(aToken(sid)), 5000)
    t.comment(`an entry before the last one seen was found after ${took.toFixed(0)} ms`)
    known.push(sid)
    await revokeOne()
    t.equal(new Set(known).size, 5)
  })

  await t.test('emptied: our tokens from before are refused for one window, by every worker', async (t) => {
    const server = await needsRedis(t)
    const { feed, redis, openSessions } = openFeed(t, server)
    const store = await openSessions(aPolicy())
    const issuedAt = systemClock()
    const running = await follow(t, feed)
    const { userId, sid } = await login(store, 'ann')
    await store.revoke(userId, sid)
    t.equal(running.has({ sid: randomId(), iat: systemClock() }), false)
    await until(() => systemClock() > issuedAt + 1, 5000)
    await redis.flushall()
    const fresh = await follow(t, feed)
    t.equal(fresh.has({ sid, iat: issuedAt }), true, 'by a worker that starts afterwards')
    t.equal(fresh.has({ sid: randomId(), iat: systemClock() + 2 }), false, 'a token issued since is valid')
    await until(() => running.has({ sid: randomId(), iat: issuedAt }), 5000)
  })

  await t.test('emptied in the second of a logout: a running worker records the loss for later ones', async (t) => {
    const server = await needsRedis(t)
    const { feed, redis, openSessions } = openFeed(t, server)
    const store = await openSessions(aPolicy())
    const running = await follow(t, feed)
    await until(() => systemClock() > running.log.epoch, 5000)
    const { userId, sid } = await login(store, 'ann')
    const token = { sid, iat: systemClock() }
    await store.revoke(userId, sid)
    await redis.flushall()
    // Another worker writes an epoch before the running one looks, and does not know that there was one before.
    const early = await follow(t, feed)
    await until(() => running.has({ ...token, sid: randomId() }), 5000)
    await until(() => early.has(token), 5000)
    const late = await follow(t, feed)
    t.equal(late.has(token), true)
    t.equal(late.has(aToken(sid)), false)
  })

  for (const [what, lose] of [
    ['deleted', (redis: Redis, feed: string) => redis.del(feed)],
    ['cut to nothing', (redis: Redis, feed: string) => redis.xtrim(feed, 'MAXLEN', 0)]
  ] as const) {
    await t.test(`the stream alone is ${what}: our tokens from before are refused`, async (t) => {
      const server = await needsRedis(t)
      const { feed, redis, names, openSessions } = openFeed(t, server)
      const store = await openSessions(aPolicy())
      const { userId, sid } = await login(store, 'ann')
      const token = { sid, iat: systemClock() }
      await store.revoke(userId, sid)
      t.equal((await follow(t, feed)).has({ ...token, sid: randomId() }), false, 'nothing is lost yet')
      await lose(redis, names.feed)
      t.equal((await follow(t, feed)).has(token), true)
      const next = await login(store, 'ann')
      await lose(redis, names.feed)
      await store.revoke(userId, next.sid)
      const late = await follow(t, feed)
      t.equal(late.has(token), true, 'a revocation that is the first to see the loss records it')
      t.equal(late.has(aToken(next.sid)), true)
      t.equal(late.has(aToken(randomId())), false)
    })
  }

  await t.test('an epoch of a version that wrote the second alone is read', async (t) => {
    const server = await needsRedis(t)
    const { feed, redis, names } = openFeed(t, server)
    const began = systemClock() - 1000
    await redis.set(names.epoch, began)
    defineScripts(redis)
    const old = Array.from({ length: 300 }, randomId)
    await announce(redis, names, 3600, 'sid', old)
    await redis.xtrim(names.feed, 'MAXLEN', 1)
    const replica = await follow(t, feed)
    t.equal(replica.log.epoch, began)
    t.equal(replica.has({ sid: randomId(), iat: began }), false)
    t.equal(await redis.get(names.epoch), `${began} 0 ${(await redis.xrevrange(names.feed, '+', '-'))[0]?.[0]}`)
  })

  await t.test('a token of another issuer from before a loss is not adopted', async (t) => {
    const server = await needsRedis(t)
    const { feed, redis, names, openSessions } = openFeed(t, server)
    const store = await openSessions(aPolicy())
    const aForeignToken = (issuedAt: number) => ({
      userId: 'ann',
      sid: randomId(),
      issuedAt,
      expiresAt: systemClock() + 500
    })
    const spent = aForeignToken(systemClock() - 100)
    t.equal(await store.isSpent(aForeignToken(1)), false, 'a new Redis has lost nothing')
    t.equal(await store.adopt(spent, aDevice), true)
    for (const lose of [() => redis.flushall(), () => redis.flushall(), () => redis.del(names.feed)]) {
      await store.revokeToken(randomId())
      await lose()
      t.equal(await store.isSpent(spent), true)
      t.equal(await store.adopt(spent, aDevice), false)
      t.equal(await store.isSpent(aForeignToken(systemClock())), true, 'in the same second')
      t.equal(await store.isSpent(aForeignToken(systemClock() + 3)), false, 'one issued since is adopted')
      t.equal(await (await openSessions(aPolicy())).isSpent(spent), true, 'by a worker that starts afterwards')
    }
    t.equal(await store.adopt(aForeignToken(systemClock() + 3), aDevice), true)
    t.equal((await follow(t, feed)).has({ sid: spent.sid, iat: spent.issuedAt }), true)
  })

  await t.test('a stream of a version without an epoch has lost nothing', async (t) => {
    const server = await needsRedis(t)
    const { feed, redis, names } = openFeed(t, server)
    const id = randomId()
    await redis.xadd(names.feed, '*', 'id', Buffer.from(id, 'hex'))
    const replica = await follow(t, feed)
    t.equal(replica.has({ sid: randomId(), iat: 1 }), false)
    t.equal(replica.has(aToken(id)), true)
    t.equal(replica.has({ jti: id }), true, 'its entries do not tell a session from a token')
  })

  await t.test('hung: nothing is verified after REVOCATION_STALENESS, and it recovers by itself', async (t) => {
    const server = await needsRedis(t, { own: true })
    const { feed, openSessions } = openFeed(t, server)
    const replica = await follow(t, feed, aReplica(2))
    const store = await openSessions(aPolicy())
    const [before, during] = [await login(store, 'ann'), await login(store, 'ann')]
    await store.revoke('ann', before.sid)
    await until(() => replica.has(aToken(before.sid)), 1000)

    await server.kill('SIGSTOP')
    const stopped = performance.now()
    t.equal(replica.has(aToken(before.sid)), true, 'what is known is good for a while')
    await t.rejects(store.revoke('ann', during.sid), down)
    await until(() => replica.isStale(), 6000)
    const stale = performance.now() - stopped
    t.throws(() => replica.has(aToken(before.sid)), down)
    t.ok(stale >= 1000, `stale after ${stale.toFixed(0)} ms`)

    await delay(Math.max(0, 7000 - stale)) // longer than the reader waits before it gives its connection up
    await server.kill('SIGCONT')
    const recovered = await until(() => !replica.isStale(), 5000)
    t.comment(`stale after ${stale.toFixed(0)} ms of silence; heard again ${recovered.toFixed(0)} ms after its end`)
    t.equal(replica.has(aToken(before.sid)), true)
    await until(
      () =>
        store.revoke('ann', during.sid).then(
          () => true,
          () => false
        ),
      5000
    )
    await until(() => replica.has(aToken(during.sid)), 1000)
  })

  await t.test('a follower is closed whatever its server does', async (t) => {
    const server = await needsRedis(t, { own: true })
    const { feed } = openFeed(t, server)
    const [one, other] = [await follow(t, feed), await follow(t, feed)]
    await server.kill('SIGSTOP')
    await one.follower.close()
    await server.kill()
    await delay(100)
    await other.follower.close()
    t.pass('both are closed')
  })

  await t.test('a revocation does not wait for a replica that is still loading', async (t) => {
    const server = await needsRedis(t, { tcp: true, args: ['--repl-diskless-sync-delay', '0'] })
    const { redis, openSessions } = openFeed(t, server)
    const store = await openSessions(aPolicy())
    const place = await login(store, 'ann')
    // Asks for a copy as a replica does, and acknowledges nothing.
    const loading = connect(Number(new URL(server.url).port), '127.0.0.1')
    t.teardown(() => loading.destroy())
    loading.resume().write('PSYNC ? -1\r\n')
    await until(async () => /state=online,offset=0/.test(await redis.info('replication')), 10_000)
    t.equal(await store.revoke('ann', place.sid), true)
  })

  await t.test('a revocation waits for a replica of the server', async (t) => {
    const server = await needsRedis(t, { tcp: true, args: ['--repl-diskless-sync-delay', '0'] })
    const port = new URL(server.url).port
    const replicaServer = await needsRedis(t, { args: ['--replicaof', `127.0.0.1 ${port}`] })
    const { feed, redis, openSessions } = openFeed(t, server)
    const store = await openSessions(aPolicy())
    const [first, second] = [await login(store, 'ann'), await login(store, 'ann')]
    // The replica acknowledges what comes after its first copy within a second.
    await until(async () => /state=online/.test(await redis.info('replication')), 10_000)
    await login(store, 'ben')
    await until(async () => /state=online,offset=[1-9]/.test(await redis.info('replication')), 10_000)
    t.equal(await store.revoke('ann', first.sid), true)

    const replica = await follow(t, feed)
    await replicaServer.kill('SIGSTOP')
    const began = performance.now()
    await t.rejects(store.revoke('ann', second.sid), { ...down, detail: /no replica/ })
    const took = performance.now() - began
    t.comment(`without a replica that answers, a revocation failed after ${took.toFixed(0)} ms`)
    t.ok(took >= 900, 'it waited')
    t.equal(
      (await store.rotate(second).catch(({ code }) => ({ kind: code }))).kind,
      'STORE_DOWN',
      'nor is it refreshed'
    )
    await replicaServer.kill('SIGCONT')
    t.equal(await store.revoke('ann', second.sid), true, 'calling again finishes it')
    t.equal(await store.revoke('ann', second.sid), false)
    t.equal((await store.rotate(second)).kind, 'unknown')
    t.equal(replica.has(aToken(second.sid)), true)
  })
})

/** Sessions whose end could be written beside them, but not into the feed. */
async function unannouncedSuite(t: Test, open: () => OpenedRedisFeed): Promise<void> {
  const openBroken = async (t: Test, changes: Parameters<typeof aPolicy>[0] = {}) => {
    const { feed, redis, names, openSessions } = open()
    const store = await openSessions(aPolicy(changes))
    const replica = await follow(t, feed)
    return {
      store,
      replica,
      // XADD to a key that holds no stream fails.
      breakFeed: () => redis.set(names.feed, 'in the way'),
      repairFeed: () => redis.del(names.feed)
    }
  }
  const isAnnounced = ({ replica }: { replica: Revocations }, sid: string) =>
    until(() => replica.has(aToken(sid)), 1000)

  await t.test('by a refresh', async (t) => {
    const broken = await openBroken(t)
    const { store, replica, breakFeed, repairFeed } = broken
    const place = await login(store, 'ann')
    await breakFeed()
    await t.rejects(store.revoke('ann', place.sid), down)
    t.equal(await store.find('ann', place.sid), undefined, 'it is over nevertheless')
    t.same(await store.list('ann'), [])
    await t.rejects(store.rotate(place), down, 'and is never refreshed')
    await t.rejects(store.rotate({ ...place, generation: 2 ** 32 - 1 }), down, 'with the mark for a generation neither')
    t.equal(replica.has(aToken(place.sid)), false)
    await repairFeed()
    t.equal((await store.rotate(place)).kind, 'unknown')
    await isAnnounced(broken, place.sid)
    t.equal(await store.revoke('ann', place.sid), false, 'nothing is left of it')
  })

  await t.test('by a second logout', async (t) => {
    const broken = await openBroken(t)
    const { store, breakFeed, repairFeed } = broken
    const place = await login(store, 'ann')
    await breakFeed()
    for (let each = 0; each < 3; each++) await t.rejects(store.revoke('ann', place.sid), down)
    await repairFeed()
    t.equal(await store.revoke('ann', place.sid), true)
    await isAnnounced(broken, place.sid)
    t.equal(await store.revoke('ann', place.sid), false)
  })

  await t.test('by the end of all sessions', async (t) => {
    const broken = await openBroken(t)
    const { store, breakFeed, repairFeed } = broken
    const [kept, one, two] = [await login(store, 'ann'), await login(store, 'ann'), await login(store, 'ann')]
    await breakFeed()
    await t.rejects(store.revoke('ann', one.sid), down)
    await t.rejects(store.revokeAll('ann', kept.sid), down)
    await repairFeed()
    t.same(new Set(await store.revokeAll('ann', kept.sid)), new Set([one.sid, two.sid]))
    for (const { sid } of [one, two]) await isAnnounced(broken, sid)
    t.equal((await store.rotate(kept)).kind, 'rotated')
  })

  await t.test('by whatever comes after an end of all sessions that broke off', async (t) => {
    for (const finish of ['a refresh', 'a logout', 'a login', 'the end of all'] as const) {
      const broken = await openBroken(t)
      const { store, breakFeed, repairFeed } = broken
      const [kept, other] = [await login(store, 'ann'), await login(store, 'ann')]
      await breakFeed()
      await t.rejects(store.revokeAll('ann', kept.sid), down)
      await t.rejects(store.rotate(other), down, 'it is never refreshed')
      t.equal(await store.find('ann', other.sid), undefined)
      t.same(
        (await store.list('ann')).map(({ sid }) => sid),
        [kept.sid]
      )
      t.equal((await store.rotate(kept)).kind, 'rotated', 'the one that is kept goes on')
      await repairFeed()
      if (finish === 'a refresh') t.equal((await store.rotate(other)).kind, 'unknown')
      if (finish === 'a logout') t.equal(await store.revoke('ann', other.sid), true)
      if (finish === 'a login') await login(store, 'ann')
      if (finish === 'the end of all') t.ok((await store.revokeAll('ann', kept.sid)).includes(other.sid))
      await isAnnounced(broken, other.sid)
      t.equal(await store.revoke('ann', other.sid), false, `nothing is left of it after ${finish}`)
      t.equal((await store.rotate({ ...kept, generation: 1 })).kind, 'rotated')
    }
  })

  for (const maxPerUser of [1000, 1]) {
    await t.test(`by a login, ${maxPerUser === 1 ? 'at' : 'below'} the limit`, async (t) => {
      const broken = await openBroken(t, { maxPerUser })
      const { store, breakFeed, repairFeed } = broken
      const place = await login(store, 'ann')
      await breakFeed()
      await t.rejects(store.revoke('ann', place.sid), down)
      await t.rejects(store.start('ann', aDevice), down)
      await repairFeed()
      const { session, ended } = await store.start('ann', aDevice)
      t.ok(ended.includes(place.sid))
      await isAnnounced(broken, place.sid)
      t.equal((await store.rotate(place)).kind, 'unknown')
      t.equal((await store.rotate({ userId: 'ann', sid: session.sid, generation: 0 })).kind, 'rotated')
    })
  }

  await t.test('after a login that ended the oldest', async (t) => {
    const broken = await openBroken(t, { maxPerUser: 1 })
    const { store, breakFeed, repairFeed } = broken
    const place = await login(store, 'ann')
    await breakFeed()
    await t.rejects(store.start('ann', aDevice), down)
    await repairFeed()
    t.equal((await store.rotate(place)).kind, 'unknown')
    await isAnnounced(broken, place.sid)
    t.equal((await store.start('ann', aDevice)).session.userId, 'ann')
    t.equal((await store.list('ann')).length, 1)
  })

  await t.test('after a reuse', async (t) => {
    const broken = await openBroken(t, { grace: 0 })
    const { store, breakFeed, repairFeed } = broken
    const place = await login(store, 'ann')
    await store.rotate(place)
    await breakFeed()
    await t.rejects(store.rotate(place), down)
    await t.rejects(store.rotate({ ...place, generation: 1 }), down, 'the newest is as dead')
    await repairFeed()
    t.equal((await store.rotate({ ...place, generation: 1 })).kind, 'unknown')
    await isAnnounced(broken, place.sid)
  })
}

/** Ends the connections that wait for news; how many there were. */
async function killReaders(redis: Redis): Promise<number> {
  const clients = String(await redis.client('LIST')).split('\n')
  const readers = clients.filter((client) => / cmd=xread /.test(client)).map((client) => /id=(\d+)/.exec(client)?.[1])
  for (const id of readers) await redis.client('KILL', 'ID', id ?? '')
  return readers.length
}

/** Why servers cannot be killed here. */
function givenRedis(): string | false {
  return process.env.TEST_REDIS_URL ? 'TEST_REDIS_URL names a server that others use' : false
}

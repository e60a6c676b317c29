/*
 * Sessions and their feed on a Redis Cluster that is resharded and loses masters under load.
 * The private servers are Debian's redis-server; TEST_REDIS_URL is not used.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RevocationFeed, SessionStore } from '../../src/sessions/store.ts'
import type { Stores } from '../../src/stores/open.ts'
import { openRedis } from '../../src/stores/redis/client.ts'
import { makeNames } from '../../src/stores/redis/names.ts'
import { aToken, follow, login, until } from '../conformance/feed.ts'
import { type ClusterNode, type RedisCluster, slotOf, startCluster } from '../support/cluster.ts'
import { aDevice } from '../support/makers.ts'
import { withoutRedis } from '../support/needs.ts'
import { checkFeed, checkLives, describeFailures, openConfirm, openStoresAt, startLoad } from './load.ts'
import { atMost } from '../support/slack.ts'

const names = makeNames()

const skip = process.env.TEST_REDIS_URL ? 'it needs servers of its own' : withoutRedis()

async function open(t: Test): Promise<Stores & { readonly cluster: RedisCluster }> {
  const cluster = await startCluster()
  t.teardown(() => cluster.stop())
  return { cluster, ...(await openStoresAt(t, cluster.url, { MAX_SESSIONS_PER_USER: '60' })) }
}

t.test('a Redis Cluster', { skip }, async (t) => {
  const { cluster, sessions, feed, counters } = await open(t)
  const replica = await follow(t, feed)
  const isKnown = (sid: string) => until(() => replica.has(aToken(sid)), 1000)

  await t.test('does what one server does, for users on every master', (t) => basics(t, sessions, isKnown))

  await t.test('counts on every master', async (t) => {
    const addresses = Array.from({ length: 12 }, (_, each) => `obtain:192.0.2.${each}`)
    for (const number of [1, 2]) {
      const counts = await Promise.all(addresses.map((name) => counters?.add(name, 60)))
      t.ok(
        counts.every((count) => count?.number === number),
        `${number} at each`
      )
    }
  })

  await t.test('slots move while their users refresh', async (t) => {
    const users = Array.from({ length: 20 }, (_, each) => `moving-${each}`)
    const load = startLoad(t, sessions, {
      clients: 20,
      userOf: (client) => users[client] ?? '',
      refreshes: 20,
      pause: 2
    })
    await load.ended(20)
    const began = performance.now()
    const keys = [...users.map(names.sessions), names.feed, ...users.map(names.sessions)]
    for (const key of keys) await moveSlot(cluster, slotOf(key))
    const took = performance.now() - began
    await load.ended(120)
    const report = await load.stop()
    t.comment(`${keys.length} slots moved in ${took.toFixed(0)} ms; ${describeFailures(report, began)}`)
    t.comment(`verdicts ${JSON.stringify(report.verdicts)}, ${report.revocations} revocations`)
    t.same(
      report.lives.filter(({ state }) => state === 'lost'),
      [],
      'no refresh is lost'
    )
    for (const { state, sid } of report.lives) if (state === 'revoked') await isKnown(sid)
    t.pass('every revocation has reached the follower')
    await checkLives(t, sessions, report)
  })

  await t.test('half-way through the move of its slot a revocation is not taken for confirmed', async (t) => {
    const userId = 'half-way'
    const place = await login(sessions, userId)
    await moveSlot(cluster, slotOf(names.sessions(userId)), async (to) => {
      t.equal((await sessions.rotate(place)).kind, 'rotated', 'a refresh finds its session')
      const itsReplica = cluster.nodes[cluster.nodes.indexOf(to) + 3] as ClusterNode
      await itsReplica.kill('SIGSTOP')
      const answer = await sessions.revoke(userId, place.sid).catch(({ code }) => code)
      await itsReplica.kill('SIGCONT')
      t.equal(answer, 'STORE_DOWN', 'while the replica of its new master is not heard')
    })
    // Until the client of the cluster knows where the slot is now, its calls fail.
    const revokeAgain = () => sessions.revoke(userId, place.sid).catch(({ code }) => code)
    let answer = await revokeAgain()
    for (let tries = 0; answer === 'STORE_DOWN' && tries < 600; tries++) {
      await delay(50)
      answer = await revokeAgain()
    }
    t.equal(answer, true, 'calling again finishes it')
    await isKnown(place.sid)
    t.equal((await sessions.rotate({ ...place, generation: 1 })).kind, 'unknown')
  })

  await t.test('the master that has the feed is killed under load', (t) =>
    failoverSuite(t, { cluster, sessions, feed }, (master) => master.kill())
  )
})

t.test('another one', { skip }, async (t) => {
  const opened = await open(t)
  const { nodes } = opened.cluster

  await t.test('the master that has the feed is replaced on purpose, under load', (t) =>
    failoverSuite(t, opened, (master) => {
      const heir = nodes[(nodes.indexOf(master) + 3) % 6] as ClusterNode
      return heir.redis.call('CLUSTER', 'FAILOVER')
    })
  )

  await t.test('it hangs, under load', (t) =>
    // As a host that lost its power: connections to it stay open, and nothing comes over them.
    failoverSuite(t, opened, (master) => master.kill('SIGSTOP'))
  )

  await t.test('no node is there: calls fail at once', async (t) => {
    const { cluster, sessions } = opened
    await Promise.all(cluster.nodes.map((node) => node.kill()))
    for (let each = 0; each < 5; each++) {
      const began = performance.now()
      await t.rejects(sessions.rotate({ userId: 'ann', sid: '0'.repeat(32), generation: 0 }), { code: 'STORE_DOWN' })
      await t.rejects(sessions.revoke('ann', '0'.repeat(32)), { code: 'STORE_DOWN' })
      const took = performance.now() - began
      t.ok(took < atMost(2500), `both after ${took.toFixed(0)} ms`)
    }
    await t.rejects(openRedis(cluster.url, { verifyTls: true }), { code: 'STORE_DOWN', detail: /ECONNREFUSED|closed/ })
  })
})

async function failoverSuite(
  t: Test,
  { cluster, sessions, feed }: { cluster: RedisCluster; sessions: SessionStore; feed: RevocationFeed },
  happens: (master: ClusterNode) => Promise<unknown>
): Promise<void> {
  const replica = await follow(t, feed)
  const load = startLoad(t, sessions, { clients: 24, refreshes: 30, confirm: await openConfirm(t, cluster.url) })
  await load.ended(100)
  const slot = slotOf(names.feed)
  const victim = await cluster.ownerOf(slot)
  const survivor = cluster.nodes.findIndex((node) => node !== victim)
  const began = performance.now()
  await happens(victim)
  await until(async () => (await cluster.ownerOf(slot, survivor)) !== victim, 15_000)
  t.comment(`the replica of the feed's master has taken over after ${(performance.now() - began).toFixed(0)} ms`)
  await load.settle()
  const report = await load.stop()
  await victim.kill('SIGCONT')
  t.comment(describeFailures(report, began))
  t.comment(`verdicts ${JSON.stringify(report.verdicts)}, ${report.revocations} revocations`)
  await checkLives(t, sessions, report)
  await checkFeed(t, { sessions, feed, replica }, report)
}

async function basics(t: Test, sessions: SessionStore, isKnown: (sid: string) => Promise<unknown>): Promise<void> {
  for (let each = 0; each < 12; each++) {
    const userId = `user-${each}`
    const { session } = await sessions.start(userId, aDevice)
    const { sid } = session
    t.same(await sessions.find(userId, sid), session)
    const verdicts = await Promise.all(
      Array.from({ length: 50 }, () => sessions.rotate({ userId, sid, generation: 0 }))
    )
    t.equal(verdicts.filter(({ kind }) => kind === 'rotated').length, 1)
    t.equal(verdicts.filter(({ kind }) => kind === 'retried').length, 49)
    t.match(await sessions.rotate({ userId, sid, generation: 1 }), { kind: 'rotated', newest: { number: 2 } })
    t.match(await sessions.rotate({ userId, sid, generation: 5 }), { kind: 'recovered', newest: { number: 6 } })

    const others = [await login(sessions, userId), await login(sessions, userId)]
    t.equal((await sessions.list(userId)).length, 3)
    t.equal(await sessions.revoke(userId, sid), true)
    t.equal(await sessions.revoke(userId, sid), false)
    t.equal((await sessions.rotate({ userId, sid, generation: 6 })).kind, 'unknown')
    await isKnown(sid)
    t.same(new Set(await sessions.revokeAll(userId)), new Set(others.map((other) => other.sid)))
    for (const other of others) await isKnown(other.sid)
    t.same(await sessions.list(userId), [])
  }
  await sessions.ping()
}

/**
 * Moves a slot with its keys to another master, as `redis-cli --cluster reshard` does; `halfWay` runs when the keys have moved
 * and the slot has not.
 */
async function moveSlot(
  { nodes, ownerOf }: RedisCluster,
  slot: number,
  halfWay: (to: ClusterNode) => Promise<void> = () => delay(20)
): Promise<void> {
  const from = await ownerOf(slot)
  const to = nodes[(nodes.indexOf(from) + 1) % 3] as ClusterNode
  await to.redis.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
  await from.redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
  const keys = (await from.redis.cluster('GETKEYSINSLOT', slot, 100)) as string[]
  for (const key of keys) await from.redis.call('MIGRATE', '127.0.0.1', to.port, key, 0, 5000)
  await halfWay(to)
  for (const { redis } of [to, from, ...nodes.slice(0, 3).filter((node) => node !== from && node !== to)]) {
    await redis.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
  }
}

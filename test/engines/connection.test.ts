/*
 * Connections to one Redis that stall, break or find another server: nothing is sent late or twice, and nothing waits for long.
 * The private servers are Debian's redis-server; TEST_REDIS_URL is not used.
 */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { SessionStore } from '../../src/sessions/store.ts'
import { openRedisStore } from '../../src/stores/redis/open.ts'
import { aToken, follow, login, until, window } from '../conformance/feed.ts'
import { aDevice, aPolicy } from '../support/makers.ts'
import { needsRedis, withoutRedis } from '../support/needs.ts'
import { atMost } from '../support/slack.ts'

const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1 }

t.test(
  'a connection',
  { skip: process.env.TEST_REDIS_URL ? 'it needs servers of its own' : withoutRedis() },
  async (t) => {
    const server = await needsRedis(t, { tcp: true, own: true })
    const port = Number(new URL(server.url).port)
    const policy = aPolicy({ grace: 1 })
    const open = async (t: Test, url: string) => {
      const opened = await openRedisStore(url, { verifyTls: true, policy, window })
      t.teardown(() => opened.sessions.close())
      return opened
    }
    const direct = (await open(t, server.url)).sessions

    await t.test('that stalled does not send a refresh when its client has moved on', async (t) => {
      const path = await openPath(t, port)
      const { sessions } = await open(t, path.url)
      const place = await login(direct, 'ann')
      path.stall()
      await t.rejects(sessions.rotate(place), down)
      t.equal((await direct.rotate(place)).kind, 'rotated', 'the client asks again, and meets another worker')
      t.equal((await direct.rotate({ ...place, generation: 1 })).kind, 'rotated')
      await delay(2500)
      path.breakAll()
      path.flow()
      await until(() => answers(sessions), 5000)
      t.equal((await sessions.rotate({ ...place, generation: 2 })).kind, 'rotated', 'it was taken for no theft')
    })

    await t.test('that broke does not send a login again', async (t) => {
      const path = await openPath(t, port)
      const { sessions } = await open(t, path.url)
      path.stall()
      const started = sessions.start('ben', aDevice)
      await until(() => path.hasHeld())
      path.breakAll()
      path.flow()
      await t.rejects(started, down)
      await until(() => answers(sessions), 5000)
      await delay(200)
      t.same(await direct.list('ben'), [])
    })

    await t.test('that leads nowhere is given up', async (t) => {
      const path = await openPath(t, port)
      const { sessions, feed } = await open(t, path.url)
      const replica = await follow(t, feed)
      const place = await login(sessions, 'ann')
      path.stall() // those there are: a host that lost its power says nothing; who takes over its address answers
      path.flow({ newOnesOnly: true })
      const began = performance.now()
      await t.rejects(sessions.rotate(place), down)
      const recovered = await until(() => answers(sessions), 10_000)
      t.comment(`requests go on ${(performance.now() - began).toFixed(0)} ms after the first that was not answered`)
      t.ok(recovered < atMost(2000))
      t.equal(await sessions.revoke('ann', place.sid), true)
      const heard = await until(() => replica.has(aToken(place.sid)), 10_000)
      t.comment(`and the feed ${(heard + performance.now() - began - heard).toFixed(0)} ms after it`)
    })

    await t.test('that says nothing is asked by a few only, until it answers', async (t) => {
      const path = await openPath(t, port)
      const { sessions } = await open(t, path.url)
      const place = await login(sessions, 'ann')
      path.stall()
      const calls = (count: number) => Promise.allSettled(Array.from({ length: count }, () => sessions.rotate(place)))
      await calls(10)
      const began = performance.now()
      const refused = await calls(1000)
      t.ok(performance.now() - began < atMost(500), `1,000 refused in ${(performance.now() - began).toFixed(0)} ms`)
      t.ok(refused.every((each) => each.status === 'rejected' && each.reason.retryAfter === 1))
      path.breakAll()
      path.flow()
      const recovered = await until(() => answers(sessions), 5000)
      t.ok(recovered < atMost(2500), `${recovered.toFixed(0)} ms`)
      t.match(await sessions.rotate(place), { kind: /rotated|retried/ })
    })

    await t.test('is new within a second of a restart, and what came between failed at once', async (t) => {
      const { sessions } = await open(t, server.url)
      const place = await login(sessions, 'ann')
      await server.kill()
      const seesIt = () =>
        sessions.rotate(place).then(
          () => false,
          ({ detail }) => detail === 'Redis: not connected'
        )
      await until(seesIt)
      const began = performance.now()
      for (let each = 0; each < 10; each++)
        await t.rejects(sessions.rotate(place), { ...down, detail: 'Redis: not connected' })
      t.ok(performance.now() - began < atMost(500), `10 failures in ${(performance.now() - began).toFixed(0)} ms`)
      await delay(3000)
      await server.restart()
      t.ok((await until(() => answers(sessions), 5000)) < atMost(1500))
    })

    await t.test('to a server that has become a replica fails until there is a master again', async (t) => {
      const { sessions, feed } = await open(t, server.url)
      const replica = await follow(t, feed)
      const place = await login(sessions, 'ann')
      const admin = new Redis(server.options)
      t.teardown(() => admin.disconnect())
      const other = await needsRedis(t, { tcp: true, own: true })
      await admin.call('REPLICAOF', '127.0.0.1', new URL(other.url).port)
      await t.rejects(sessions.rotate(place), down)
      await t.rejects(sessions.revoke('ann', place.sid), down)
      await admin.call('REPLICAOF', 'NO', 'ONE')
      await until(() => answers(sessions), 5000)
      const next = await login(sessions, 'ann')
      t.equal(await sessions.revoke('ann', next.sid), true)
      await until(() => replica.has(aToken(next.sid)), 5000)
    })

    await t.test('to a server whose memory is full fails, and changes nothing', async (t) => {
      const admin = new Redis(server.options)
      t.teardown(() => admin.disconnect())
      // It may still be on its way back from the server that was a replica.
      await until(() => answers(direct), 5000)
      const place = await login(direct, 'ann')
      await admin.config('SET', 'maxmemory', '1')
      const full = { ...down, detail: /OOM/ }
      await t.rejects(direct.start('ann', aDevice), full)
      await t.rejects(direct.rotate(place), full)
      await t.rejects(direct.revoke('ann', place.sid), full)
      t.ok(await direct.find('ann', place.sid))
      await admin.config('SET', 'maxmemory', '0')
      t.equal((await direct.rotate(place)).kind, 'rotated')
      t.equal(await direct.revoke('ann', place.sid), true)
    })
  }
)

const answers = (sessions: SessionStore): Promise<boolean> =>
  sessions.ping().then(
    () => true,
    () => false
  )

/** A proxy to 127.0.0.1:port that can be blocked without either end noticing. */
interface Path {
  readonly url: string
  /** What is sent goes nowhere. */
  stall(): void
  /** What is sent arrives again; what did not, never does. */
  flow(which?: { readonly newOnesOnly: boolean }): void
  /** Ends the connections there are. */
  breakAll(): void
  /** Whether anything was sent that goes nowhere. */
  hasHeld(): boolean
}

async function openPath(t: Pick<Test, 'teardown'>, port: number): Promise<Path> {
  type Pair = { readonly ends: readonly [Socket, Socket]; isStalled: boolean }
  const pairs = new Set<Pair>()
  let [stalled, hasHeld] = [false, false]
  const server = createServer((near) => {
    const far = createConnection(port, '127.0.0.1')
    const pair: Pair = { ends: [near, far], isStalled: stalled }
    pairs.add(pair)
    for (const [from, to] of [pair.ends, [far, near] as const]) {
      from.on('data', (data) => {
        if (pair.isStalled) hasHeld = true
        else to.write(data)
      })
      from.on('error', () => {})
      from.on('close', () => {
        if (!pair.isStalled) to.destroy()
      })
    }
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const breakAll = () => {
    for (const { ends } of pairs) for (const end of ends) end.destroy()
    pairs.clear()
  }
  t.teardown(() => {
    breakAll()
    server.close()
  })
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stall() {
      stalled = true
      for (const pair of pairs) pair.isStalled = true
    },
    flow({ newOnesOnly } = { newOnesOnly: false }) {
      stalled = false
      if (!newOnesOnly) for (const pair of pairs) pair.isStalled = false
    },
    breakAll,
    hasHeld: () => hasHeld
  }
}

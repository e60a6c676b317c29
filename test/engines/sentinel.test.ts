/*
 * Sessions and their feed on a Redis that Sentinels watch, and whose master is killed, hangs or steps down under load.
 * The private servers are Debian's redis-server; TEST_REDIS_URL is not used.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openRedis } from '../../src/stores/redis/client.ts'
import { follow, until } from '../conformance/feed.ts'
import { withoutRedis } from '../support/needs.ts'
import { startWatched, type WatchedRedis } from '../support/sentinel.ts'
import { checkFeed, checkLives, describeFailures, openConfirm, openStoresAt, startLoad } from './load.ts'

const skip = process.env.TEST_REDIS_URL ? 'it needs servers of its own' : withoutRedis()

const open = async (t: Test): Promise<WatchedRedis> => {
  const watched = await startWatched()
  t.teardown(() => watched.stop())
  return watched
}

t.test('behind Sentinels, under load, the master', { skip }, async (t) => {
  await t.test('is killed', async (t) => failoverSuite(t, await open(t), ({ nodes }) => nodes[0].kill()))

  await t.test('hangs, and comes back when another has taken over', async (t) =>
    failoverSuite(t, await open(t), ({ nodes }) => nodes[0].kill('SIGSTOP'))
  )
})

t.test('Sentinels', { skip }, async (t) => {
  const watched = await open(t)
  const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1, detail: /All sentinels are unreachable/ }
  const connect = async (url: string) => (await openRedis(url, { verifyTls: true })).disconnect()

  await t.test('Sentinels that do not respond, or do not know this name, are reported at once', async (t) => {
    await t.rejects(connect('redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster'), down)
    await t.rejects(connect(watched.url.replace('mymaster', 'other')), down)
  })

  await t.test('are not asked in the clear where TLS was asked for', async (t) => {
    const url = `rediss+sentinel://127.0.0.1:${watched.sentinels[0]?.port}/mymaster`
    await t.rejects(openRedis(url, { verifyTls: false }), down)
  })

  await t.test('are asked in turn when one hangs', async (t) => {
    await watched.sentinels[0]?.kill('SIGSTOP')
    const began = performance.now()
    await connect(watched.url)
    t.comment(`connected after ${(performance.now() - began).toFixed(0)} ms`)
    await watched.sentinels[0]?.kill('SIGCONT')
  })

  await t.test('announce a failover to a connection that looks for the master: it does not end', async (t) => {
    const redis = await openRedis(watched.url, { verifyTls: true })
    t.teardown(() => redis.disconnect())
    const ended = new Promise((resolve) => redis.once('end', resolve))
    // What ioredis does when it hears `+switch-master`, in the moment in which it does so too late.
    const { connector } = redis as unknown as { readonly connector: { disconnect(): void } }
    redis.once('connecting', () => connector.disconnect())
    redis.disconnect(true)
    await ended
    const answers = (): Promise<boolean> =>
      redis.ping().then(
        () => true,
        () => false
      )
    await until(answers, 5000)
  })

  await t.test('tell the master to step down, under load', (t) =>
    failoverSuite(t, watched, async ({ nodes, sentinels }) => {
      // SENTINEL FAILOVER does not stop the old master: without the pause it goes on for a second, confirmed by the replica
      // that was not chosen, and all that is lost. See docs/redis.md.
      await nodes[0].redis.client('PAUSE', 10_000, 'WRITE')
      await sentinels[1]?.redis.call('SENTINEL', 'FAILOVER', 'mymaster')
    })
  )
})

async function failoverSuite(
  t: Test,
  watched: WatchedRedis,
  happens: (watched: WatchedRedis) => Promise<unknown>
): Promise<void> {
  const { sessions, feed } = await openStoresAt(t, watched.url)
  const replica = await follow(t, feed)
  const confirm = await openConfirm(t, watched.url)
  const load = startLoad(t, sessions, { clients: 24, refreshes: 30, confirm })
  // So much there is to lose.
  await load.ended(100)

  const began = performance.now()
  await happens(watched)
  const [first] = watched.nodes
  await until(async () => (await watched.master(1)) !== first, 20_000)
  t.comment(`the Sentinels have a new master after ${(performance.now() - began).toFixed(0)} ms`)
  await load.settle()
  await first.kill('SIGCONT')
  await delay(500)
  const report = await load.stop()

  t.comment(describeFailures(report, began))
  t.comment(`verdicts ${JSON.stringify(report.verdicts)}, ${report.revocations} revocations`)
  await checkLives(t, sessions, report)
  await checkFeed(t, { sessions, feed, replica }, report)
}

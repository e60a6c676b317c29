/*
 * Long outages with refreshes in flight. Whatever was lost, afterwards every honest client still has its session, each session has
 * one newest token, and nothing that was revoked works. KEYTURN_CROWD=1000 makes the crowd larger,
 * and KEYTURN_OUTAGE=Redis plays the outages of that name only.
 */
import t from 'tap'
import { login, startArbiter, until } from '../support/arbiter.ts'
import { withoutPostgres, withoutRedis } from '../support/needs.ts'
import type { Tunnel } from '../support/proxy.ts'
import { age, type Crowd, gather, insist, restoreAll, saveAll, send, type Tally } from './crowd.ts'
import { openScope, openServers, type ServersWorld } from './worlds.ts'

const areGiven = process.env.TEST_REDIS_URL !== undefined || process.env.TEST_DATABASE_URL !== undefined
const skip = areGiven ? 'it needs servers of its own' : withoutRedis() || withoutPostgres()
const size = Number(process.env.KEYTURN_CROWD ?? 60)

/** How long each outage lasts for Redis' clock, in seconds: far beyond the grace, so that lost answers need a late retry. */
const tenMinutes = 600

/** What happens to the world while `refresh` lets the whole crowd refresh; it resolves when the service is back. */
type Outage = (world: ServersWorld, refresh: (url?: string) => Promise<Tally>) => Promise<void>

/** Resolves when Redis has carried out so many more refreshes. */
async function untilRotated({ admin }: ServersWorld, more: number, act: () => void): Promise<void> {
  const count = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
  const before = await count()
  act()
  await until(async () => (await count()) >= before + more, `${more} refreshes reach Redis`)
}

/** Redis rotates the tokens of the crowd, no worker behind these tunnels hears of it, and then `kill` ends them. */
async function refreshLosingAnswers(
  world: ServersWorld,
  refresh: () => Promise<Tally>,
  tunnels: readonly Tunnel[],
  kill: () => void
): Promise<void> {
  let inFlight: Promise<Tally> | undefined
  for (const tunnel of tunnels) tunnel.loseAnswers()
  await untilRotated(world, Math.min(size, 200), () => (inFlight = refresh()))
  kill()
  await inFlight
  for (const tunnel of tunnels) tunnel.cut()
}

const outages: Readonly<Record<string, Outage>> = {
  async 'Redis is down'(world, refresh) {
    let inFlight: Promise<Tally> | undefined
    await untilRotated(world, 1, () => (inFlight = refresh()))
    await world.redis.kill()
    await inFlight
    await world.redis.restart()
  },

  async 'PostgreSQL is down'({ postgres }, refresh) {
    const inFlight = refresh()
    await postgres.kill()
    await inFlight
    await postgres.restart()
  },

  async 'the workers are killed between the answer of Redis and their own'(world, refresh) {
    const { keyturn, proxy } = world
    await refreshLosingAnswers(world, refresh, proxy.tunnels(), () => {
      for (const worker of keyturn.ready('worker')) process.kill(worker, 'SIGKILL')
    })
  },

  async 'a failover loses the last writes'({ admin }, refresh) {
    const before = await saveAll(admin)
    await refresh()
    await restoreAll(admin, before)
  },

  async 'a host is lost'(world, refresh) {
    const { keyturn, proxy } = world
    const scope = openScope()
    const own = new Set(proxy.tunnels())
    const other = await startArbiter(scope, keyturn.settings)
    const tunnels = proxy.tunnels().filter((tunnel) => !own.has(tunnel))
    await refreshLosingAnswers(
      world,
      () => refresh(other.url),
      tunnels,
      () => {
        const processes = [other.pid, ...other.ready('worker'), ...other.ready('hasher')]
        for (const pid of processes) process.kill(pid, 'SIGKILL')
      }
    )
    await scope.close()
  }
}

t.test('long outages', { skip, timeout: 600_000 }, async (t) => {
  const world = await openServers({ MAX_SESSIONS_PER_USER: '10000' }, { isProxied: true })
  t.teardown(() => world.close())
  const { url } = world.keyturn
  await world.clients.stop()

  /** Ends a few sessions: their tokens, none of which may ever work again. */
  const revokeSome = async (): Promise<readonly string[]> => {
    const ended = await gather(url, login, 5)
    await ended.refreshUntilServed(url)
    for (const { refresh } of ended.members) {
      const { status } = await send(`${url}/api/token/blacklist/`, { refresh })
      t.equal(status, 200)
    }
    ended.close()
    return ended.members.flatMap(({ refresh, superseded }) => [refresh, ...superseded])
  }

  /** Each client presents its newest token twice: both times there is the same successor, and no client has another. */
  const presentTwice = async (crowd: Crowd): Promise<number> => {
    const pairs = await Promise.all(
      crowd.members.map(async ({ refresh }) => [await presentOnce(refresh), await presentOnce(refresh)] as const)
    )
    return pairs.filter(([first, second]) => first === second && first !== '').length
  }
  const presentOnce = async (token: string) =>
    (await insist(() => send(`${url}/api/token/refresh/`, { refresh: token }))).refresh

  const chosen = Object.entries(outages).filter(([name]) => name.includes(process.env.KEYTURN_OUTAGE ?? ''))
  for (const [name, outage] of chosen) {
    await t.test(`${name}, for ten minutes: no client is logged out, and nothing revoked works`, async (t) => {
      const revoked = await revokeSome()
      const crowd = await gather(url, login, size)
      t.teardown(() => crowd.close())
      let before: Tally = {}
      await outage(world, async (base = url) => {
        before = await crowd.refreshOnce(base)
        return before
      })
      await age(world.admin, tenMinutes)
      const { refused, tally } = await crowd.refreshUntilServed(url)
      t.comment(`during the outage: ${JSON.stringify(before)}, after it: ${JSON.stringify(tally)}`)
      t.equal(refused, 0, 'no client is logged out')
      const stated = new Set(['0', '200', '503'])
      const unstated = [before, tally].flatMap((each) => Object.keys(each)).filter((status) => !stated.has(status))
      t.same(unstated, [], 'each answer is 200 or a 503 with Retry-After, or the connection breaks')
      t.equal(await presentTwice(crowd), size, 'each session has one newest token')
      for (const token of revoked) {
        t.equal((await send(`${url}/api/token/refresh/`, { refresh: token })).status, 401, 'what was revoked stays so')
        t.equal((await send(`${url}/api/token/verify/`, { token })).status, 400)
      }
    })
  }
})

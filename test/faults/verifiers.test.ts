/*
 * Verifiers of packages/verifier through what happens to the service, its Redis and the network between: none accepts what has
 * been revoked, none refuses what Keyturn accepts, and each answers 503 exactly while it cannot know.
 *
 * A verifier may be behind the last revocation that it received: its staleness. KEYTURN_SECONDS (8) is how long the partition lasts.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, post, runKeyturn } from '../support/keyturn.ts'
import { freePort } from '../support/engines.ts'
import { needsRedis, withoutRedis } from '../support/needs.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import type { RedisServer } from '../support/redis.ts'
import { atMost } from '../support/slack.ts'
import { openVerifiers, type Verifier } from '../support/verifiers.ts'

const partition = Number(process.env.KEYTURN_SECONDS ?? 8)

/** Seconds that a verifier goes on without a heartbeat: as few as it takes. */
const staleness = 5

/** How long a revocation may take to be known while all is well, in milliseconds: a multiple of what is promised. */
const spread = 1000

const count = 4

interface Session {
  readonly access: string
  readonly refresh: string
  /** performance.now() of the 200 that ended it. */
  endedAt?: number
}

interface World {
  readonly keyturn: RunningArbiter
  readonly redis: RedisServer
  readonly admin: Redis
  readonly proxy: TcpProxy
  readonly verifiers: readonly Verifier[]
  setClock(seconds: number): Promise<void>
}

/** What became of the tokens that were tried. Times are performance.now(). */
class Tally {
  checks = 0
  readonly wrong: string[] = []
  readonly falselyRefused: string[] = []
  readonly unavailable: number[] = []
  /** Accepted though ended, within the staleness and while a fault lasts. */
  behind = 0
}

async function openWorld(t: Test): Promise<World> {
  const redis = await needsRedis(t, { tcp: true, appendonly: true, own: true })
  const admin = new Redis({ ...redis.options, maxRetriesPerRequest: null, retryStrategy: () => 20 })
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  const port = await freePort()
  const proxy = await openProxy(port)
  t.teardown(() => proxy.close())
  const issuer = `http://127.0.0.1:${proxy.port}`
  const clockFile = join(aDataDir(t), 'offset')
  const keyturn = await startArbiter(t, {
    REDIS_URL: redis.url,
    PORT: `${port}`,
    ISSUER: issuer,
    MAX_SESSIONS_PER_USER: '10000',
    HASHERS: '1',
    NODE_OPTIONS: `--import=${fileURLToPath(new URL('./stepped-clock.js', import.meta.url))}`,
    CLOCK_OFFSET_FILE: clockFile
  })
  t.teardown(() => keyturn.stop('SIGINT'))
  const run = async (args: readonly string[], input = '') => {
    const { code, stdout, stderr } = await runKeyturn(args, keyturn.settings, input)
    if (code !== 0) throw new Error(stderr)
    return stdout.trim()
  }
  await run(['users', 'create', login.username], login.password)
  const secret = await run(['clients', 'create', 'shop', '--scopes', 'keyturn.revocations'])
  const verifiers = await openVerifiers(t, count, { issuer, client: { id: 'shop', secret }, staleness })
  const { now } = Date
  let offset = 0
  Date.now = () => now() + offset
  t.teardown(() => {
    Date.now = now
  })
  return {
    keyturn,
    redis,
    admin,
    proxy,
    verifiers,
    async setClock(seconds) {
      writeFileSync(clockFile, String(seconds))
      offset = seconds * 1000
      await delay(100)
    }
  }
}

/** Logs in, logs out and tries both kinds of tokens at every verifier, until it is stopped. */
function startTraffic({ keyturn, verifiers }: World) {
  let tally = new Tally()
  let isOver = false
  let isCalm = true
  const live: Session[] = []
  const ended: Session[] = []
  const call = (path: string, body: object) =>
    post(`${keyturn.url}${path}`, body).catch(() => ({ status: 0, body: {} as Record<string, string> }))
  const pick = (sessions: readonly Session[]) => sessions[Math.floor(Math.random() * sessions.length)]

  const logInAndOut = async (): Promise<void> => {
    const { status, body } = await call('/api/token/', login)
    if (status === 200) live.push({ access: body.access ?? '', refresh: body.refresh ?? '' })
    if (live.length > 20) {
      const [session] = live.splice(0, 1)
      for (let tries = 0; session !== undefined && tries < 200 && !isOver; tries++) {
        if ((await call('/api/token/blacklist/', { refresh: session.refresh })).status === 200) {
          session.endedAt = performance.now()
          ended.push(session)
          break
        }
        await delay(100)
      }
    }
    await delay(100)
  }

  /** A verdict of 401 is right where Keyturn gives it too. */
  const isRefusedByKeyturn = async ({ access }: Session): Promise<boolean> => {
    for (;;) {
      const { status } = await call('/api/token/verify/', { token: access })
      if (status === 200 || status === 401) return status === 401
      await delay(100)
    }
  }

  /** A logout under way may reach a verifier a moment before it reaches the worker that is asked. */
  const isRefusedSoon = async (session: Session): Promise<boolean> => {
    for (const began = performance.now(); performance.now() - began < 1000; await delay(50))
      if (await isRefusedByKeyturn(session)) return true
    return false
  }

  const tryLive = async (verifier: Verifier, session: Session): Promise<void> => {
    try {
      await verifier.verify(session.access)
    } catch (error) {
      const { status, message } = error as Error & { status?: number }
      if (status === 503) tally.unavailable.push(performance.now())
      else if (live.includes(session) && !(await isRefusedSoon(session)))
        tally.falselyRefused.push(`${status}: ${message}`)
    }
  }

  const tryEnded = async (verifier: Verifier, { access, endedAt = 0 }: Session): Promise<void> => {
    const age = performance.now() - endedAt
    try {
      await verifier.verify(access)
      const most = isCalm ? spread : staleness * 1000 + spread
      if (age > atMost(most)) tally.wrong.push(`accepted ${Math.round(age)} ms after its end`)
      else tally.behind += 1
    } catch (error) {
      const { status, message } = error as Error & { status?: number }
      if (status === 503) tally.unavailable.push(performance.now())
      else if (status !== 401) tally.wrong.push(`answered ${status}: ${message}`)
    }
  }

  const check = async (verifier: Verifier): Promise<void> => {
    const [one, other] = [pick(live), pick(ended)]
    if (one !== undefined) await tryLive(verifier, one)
    if (other !== undefined) await tryEnded(verifier, other)
    tally.checks += 1
    await delay(20)
  }

  const keep = async (turn: () => Promise<void>): Promise<void> => {
    while (!isOver) await turn()
  }
  const running = [...verifiers.map((verifier) => keep(() => check(verifier))), keep(logInAndOut), keep(logInAndOut)]
  return {
    ended,
    live,
    /** Whether nothing is the matter. */
    setCalm(calm: boolean) {
      isCalm = calm
    },
    /** The tally since the last one. */
    take(): Tally {
      const taken = tally
      tally = new Tally()
      return taken
    },
    async stop() {
      isOver = true
      await Promise.all(running)
    }
  }
}

interface Fault {
  readonly name: string
  /** Makes it happen; resolves when it is over. */
  inflict(world: World, traffic: ReturnType<typeof startTraffic>): Promise<void>
  /** Whether it lasts longer than the staleness, so that verifiers cannot know. */
  readonly isLong?: boolean
  /** Whether the list is another one afterwards: verifiers cannot know until they have it. */
  readonly resets?: boolean
}

const faults: readonly Fault[] = [
  { name: 'nothing, for comparison', inflict: () => delay(3000) },
  {
    name: 'a reload (SIGHUP)',
    async inflict({ keyturn }) {
      const from = keyturn.lines().length
      keyturn.child.kill('SIGHUP')
      await keyturn.next('Keyturn reloaded', from)
    }
  },
  {
    name: 'a worker killed',
    async inflict({ keyturn }) {
      keyturn.kill('worker', 'SIGKILL')
      await delay(1000)
    }
  },
  { name: 'redis-server restarted', inflict: ({ redis }) => redis.restart() },
  {
    name: 'the clock set back by an hour, and forward again',
    async inflict({ setClock }) {
      await setClock(-3600)
      await delay(3000)
      await setClock(0)
    }
  },
  {
    name: `a partition of ${partition} s between verifiers and service`,
    isLong: partition > staleness + 1,
    async inflict({ proxy }) {
      proxy.refuse(true)
      for (const tunnel of proxy.tunnels()) tunnel.cut()
      await delay(partition * 1000)
      proxy.refuse(false)
    }
  },
  {
    name: `a partition of ${partition} s between service and Redis`,
    isLong: partition > staleness + 1,
    async inflict({ redis }) {
      await redis.kill('SIGSTOP')
      await delay(partition * 1000)
      await redis.kill('SIGCONT')
    }
  },
  {
    name: 'FLUSHALL',
    resets: true,
    async inflict({ admin }, { live }) {
      await admin.flushall()
      // The sessions are gone with it.
      live.splice(0)
      await until(async () => (await admin.dbsize()) > 0)
      await delay(2000)
      live.splice(0)
    }
  }
]

t.test('verifiers through faults', { skip: withoutRedis(), timeout: 600_000 }, async (t) => {
  const world = await openWorld(t)
  const traffic = startTraffic(world)
  t.teardown(() => traffic.stop())
  await until(() => traffic.ended.length > 5)
  for (const { name, inflict, isLong = false, resets = false } of faults) {
    traffic.take()
    const began = performance.now()
    traffic.setCalm(false)
    await inflict(world, traffic)
    const over = performance.now()
    await until(() => world.verifiers.every(({ isReady }) => isReady))
    const recovered = performance.now()
    await delay(spread)
    traffic.setCalm(true)
    // One that ended just now may still be under way.
    const missed = await missedBy(
      world,
      traffic.ended.filter(({ endedAt = 0 }) => performance.now() - endedAt > atMost(spread))
    )
    const { checks, wrong, falselyRefused, unavailable, behind } = traffic.take()
    const seconds = (at: number | undefined) => (at === undefined ? '-' : `${((at - began) / 1000).toFixed(1)} s`)
    t.comment(
      `${name}: ${checks} checks; wrong accepts ${wrong.length}, missed revocations ${missed}, false 401 ${falselyRefused.length}; ` +
        `503 ${unavailable.length} (from ${seconds(unavailable[0])} to ${seconds(unavailable.at(-1))}, over at ${seconds(over)}); ` +
        `accepted within the staleness ${behind}`
    )
    t.same([...new Set(wrong)], [], `${name}: none accepts what has been revoked`)
    t.equal(missed, 0, `${name}: none misses a revocation`)
    t.same([...new Set(falselyRefused)], [], `${name}: none refuses what Keyturn accepts`)
    if (resets)
      t.ok((unavailable.at(-1) ?? 0) - (unavailable[0] ?? 0) < atMost(1000), `${name}: all know again in a second`)
    else if (!isLong) t.equal(unavailable.length, 0, `${name}: each can decide all the time`)
    else {
      const [first = 0, last = 0] = [unavailable[0], unavailable.at(-1)]
      t.ok(first - began > (staleness - 3) * 1000, `${name}: not before the staleness is over`)
      t.ok(first - began < atMost((staleness + 2) * 1000), `${name}: and not long after it`)
      t.ok(last <= recovered + 100, `${name}: until it is over`)
      t.ok(recovered - over < atMost(5000), `${name}: all is well ${Math.round(recovered - over)} ms later`)
    }
  }
})

/** How many ended sessions any of the verifiers accepts. Those whose tokens have expired are refused anyway. */
async function missedBy({ verifiers }: World, ended: readonly Session[]): Promise<number> {
  const accepted = await Promise.all(
    verifiers.flatMap((verifier) =>
      ended.map(({ access }) =>
        verifier.verify(access).then(
          () => 1,
          () => 0
        )
      )
    )
  )
  return accepted.reduce<number>((sum, each) => sum + each, 0)
}

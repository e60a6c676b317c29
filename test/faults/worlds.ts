/* Running Keyturns with two workers and a hasher, on real stores of their own, and steady traffic. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, runKeyturn } from '../support/keyturn.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startWatched } from '../support/sentinel.ts'
import { type Clients, startClients } from './clients.ts'
import { fillDisk, forbidGrowth, mountSmallDisk } from './hands.ts'

export interface World {
  readonly keyturn: RunningArbiter
  readonly clients: Clients
  /** Lets Keyturn believe that it is so many seconds later. Resolves when it does. */
  setClock(seconds: number): Promise<void>
  /** Whether sessions may be lost from now on. */
  mayLose(may: boolean): void
  close(): Promise<void>
}

export interface ServersWorld extends World {
  readonly redis: RedisServer
  /** A connection of our own. */
  readonly admin: Redis
  readonly postgres: PostgresServer
  /** Between Keyturn and Redis, where the world was opened with it. */
  readonly proxy: TcpProxy
}

export interface WatchedWorld extends World {
  /** The first master. */
  readonly redis: Pick<RedisServer, 'kill'>
}

export interface EmbeddedWorld extends World {
  /** Lets nothing more be written, and gives what ends it. */
  fillDisk(): () => void
}

/** What is opened is closed in the reverse order. */
export interface Scope {
  teardown(close: () => unknown): void
  close(): Promise<void>
}

export function openScope(): Scope {
  const closers: (() => unknown)[] = []
  return {
    teardown: (close) => void closers.push(close),
    async close() {
      for (const close of closers.splice(0).reverse()) await close()
    }
  }
}

/** Keyturn on PostgreSQL and a Redis that keeps everything, with a proxy in front of Redis that is not used unless it is asked for. */
export async function openServers(
  env: Record<string, string> = {},
  { isProxied = false }: { readonly isProxied?: boolean } = {}
): Promise<ServersWorld> {
  const scope = openScope()
  return await opened(scope, async () => {
    const [redis, postgres] = await Promise.all([
      startRedis({ tcp: true, appendonly: true }),
      startPostgres({ tcp: true, own: true })
    ])
    scope.teardown(() => Promise.all([redis.stop(), postgres.stop()]))
    const admin = new Redis({ ...redis.options, maxRetriesPerRequest: null, retryStrategy: () => 20 })
    admin.on('error', () => {})
    scope.teardown(() => admin.disconnect())
    const proxy = await openProxy(Number(new URL(redis.url).port))
    scope.teardown(() => proxy.close())
    const settings = {
      DATABASE_URL: postgres.url,
      REDIS_URL: isProxied ? `redis://127.0.0.1:${proxy.port}` : redis.url,
      KEY_ENCRYPTION_SECRET: 'a secret of tests that is long enough to seal keys',
      ...env
    }
    const { code, stderr } = await runKeyturn(['migrate'], settings)
    if (code !== 0) throw new Error(stderr)
    return { redis, postgres, admin, proxy, ...(await openWorld(scope, settings)) }
  })
}

/** Keyturn on a Redis with two replicas and three Sentinels. */
export async function openWatched(): Promise<WatchedWorld> {
  const scope = openScope()
  return await opened(scope, async () => {
    const { url, nodes, stop } = await startWatched()
    scope.teardown(stop)
    return { redis: nodes[0], ...(await openWorld(scope, { REDIS_URL: url })) }
  })
}

/** Keyturn on its embedded file, on a small disk of its own where that can be had. */
export async function openEmbedded(): Promise<EmbeddedWorld> {
  const scope = openScope()
  return await opened(scope, async () => {
    const dataDir = aDataDir(scope)
    const isDisk = mountSmallDisk(dataDir, scope)
    const world = await openWorld(scope, { DATA_DIR: dataDir })
    return { ...world, fillDisk: () => (isDisk ? fillDisk(dataDir) : forbidGrowth(world.keyturn.ready('worker'))) }
  })
}

async function opened<T>(scope: Scope, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    await scope.close()
    throw error
  }
}

const steppedClock = fileURLToPath(new URL('./stepped-clock.js', import.meta.url))

async function openWorld(scope: Scope, env: Record<string, string>): Promise<World> {
  const clockFile = join(aDataDir(scope), 'offset')
  const keyturn = await startArbiter(scope, {
    HASHERS: '1',
    TIMEOUT: '2',
    NODE_OPTIONS: `--import=${steppedClock}`,
    CLOCK_OFFSET_FILE: clockFile,
    ...env
  })
  scope.teardown(() => keyturn.stop('SIGINT'))
  const { code, stderr } = await runKeyturn(['users', 'create', login.username], keyturn.settings, login.password)
  if (code !== 0) throw new Error(stderr)
  let mayLose = false
  const clients = startClients(keyturn.url, login, () => mayLose)
  scope.teardown(() => clients.stop())
  // So that there is something to betray.
  let ended = 0
  await until(() => {
    ended += clients.report().ended
    return ended >= 5
  }, 'sessions have ended')
  return {
    keyturn,
    clients,
    async setClock(seconds) {
      writeFileSync(clockFile, String(seconds))
      await delay(100)
    },
    mayLose(may) {
      mayLose = may
    },
    close: () => scope.close()
  }
}

/* A Keyturn to measure: on PostgreSQL and Redis of its own, with its own defaults; its log goes into a file. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { login } from '../test/support/arbiter.ts'
import { freePort } from '../test/support/engines.ts'
import { aDataDir, runKeyturn, serveCommand, testSettings } from '../test/support/keyturn.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { startRedis } from '../test/support/redis.ts'
import type { Scope } from '../test/faults/worlds.ts'

export interface Service {
  readonly url: string
  /** Of the arbiter. */
  readonly pid: number
  /** Its environment: for commands on the same data. */
  readonly settings: Record<string, string>
}

/** Settings of a Keyturn on PostgreSQL and Redis of its own, with the user of `login`; all of it ends with `scope`. */
export async function openStores(scope: Scope, env: Record<string, string> = {}): Promise<Record<string, string>> {
  const [redis, postgres] = await Promise.all([startRedis({ tcp: true }), startPostgres({ tcp: true })])
  scope.teardown(() => Promise.all([redis.stop(), postgres.stop()]))
  const settings = testSettings({
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    KEY_ENCRYPTION_SECRET: 'a secret of benchmarks that is long enough to seal keys',
    // Which tests make cheap.
    ARGON2_MEMORY: '19456',
    ARGON2_TIME: '2',
    ...env
  })
  for (const args of [['migrate'], ['users', 'create', login.username]]) {
    const { code, stderr } = await runKeyturn(args, settings, login.password)
    if (code !== 0) throw new Error(stderr)
  }
  return settings
}

/** Two workers and their hashers on such stores. */
export async function openService(scope: Scope, env: Record<string, string> = {}): Promise<Service> {
  const settings = await openStores(scope, { PORT: '0', WEB_CONCURRENCY: '2', ...env })
  const log = join(aDataDir(scope), 'log')
  const [file, ...args] = serveCommand
  const child = spawn(file, args, { env: settings, stdio: ['ignore', openSync(log, 'a'), 'inherit'] })
  scope.teardown(async () => {
    child.kill('SIGINT')
    await once(child, 'exit')
  })
  for (let tries = 0; tries < 300; tries++) {
    const url = /listens on (http:\S+?)"/.exec(readFileSync(log, 'utf8'))?.[1]
    if (url !== undefined) return { url, pid: child.pid ?? 0, settings }
    await delay(100)
  }
  throw new Error(`keyturn serve does not start: ${readFileSync(log, 'utf8')}`)
}

/** The same with ISSUER, which contains the port. */
export async function openIssuer(scope: Scope, env: Record<string, string> = {}): Promise<Service> {
  const port = await freePort()
  return await openService(scope, { PORT: `${port}`, ISSUER: `http://127.0.0.1:${port}`, ...env })
}

export interface Client {
  readonly id: string
  readonly secret: string
}

/** Creates a client with these scopes, and waits until every worker knows it. */
export async function createClient({ settings }: Service, scopes: string): Promise<Client> {
  const args = ['clients', 'create', 'bench', '--scopes', scopes, '--json']
  const { code, stdout, stderr } = await runKeyturn(args, settings)
  if (code !== 0) throw new Error(stderr)
  const { client_id: id, client_secret: secret } = JSON.parse(stdout)
  await delay(2500)
  return { id, secret }
}

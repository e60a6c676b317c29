/* What the scenarios measure: Keyturns and floors on the same stores, with the same key and users, and the clients that send requests. */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openScope, type Scope } from '../test/faults/worlds.ts'
import { makeArgon2Writer } from '../src/passwords/argon2.ts'
import { systemClock } from '../src/time.ts'
import { basic } from '../test/support/client.ts'
import { openCodec } from '../test/support/codec.ts'
import { freePort } from '../test/support/engines.ts'
import { makeKeyPair } from '../test/support/forger.ts'
import { aDataDir, post, runKeyturn, serveCommand, testSettings } from '../test/support/keyturn.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { startRedis } from '../test/support/redis.ts'
import type { Load, Round, RoundOrder, Task } from './client.ts'
import type { FloorParts } from './floor.ts'
import type { Side } from './measure.ts'

const password = 'a password of benchmarks'

/** Keyturn's own defaults (ARGON2_MEMORY, ARGON2_TIME), which tests make cheap. */
const passwordCost = { memory: 19_456, time: 2, parallelism: 1 }

/** What all sides of a run share. */
export interface Stage {
  /** Settings of a Keyturn on these stores: one worker, one hasher, nothing refused for being too much. */
  readonly settings: Readonly<Record<string, string>>
  readonly floorParts: Omit<FloorParts, 'folder'>
  /** A body for POST /api/token/ of each user. */
  readonly credentials: readonly string[]
  /** A client's, as HTTP Basic. */
  readonly authorization: string
  /** Valid access tokens of the users in turn. */
  mintAccess(count: number): readonly string[]
}

/** Private stores with a hundred users and a client in them; all of it ends with `scope`. */
export async function openStage(scope: Scope): Promise<Stage> {
  const [redis, postgres] = await Promise.all([startRedis({ tcp: true }), startPostgres({ tcp: true })])
  scope.teardown(() => Promise.all([redis.stop(), postgres.stop()]))
  const { text: key } = makeKeyPair('ES256')
  const settings = testSettings({
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    SIGNING_KEY: key,
    ALGORITHM: 'ES256',
    KEY_ENCRYPTION_SECRET: 'a secret of benchmarks that is long enough to seal keys',
    // The tokens of `mintAccess` are never refreshed.
    ACCESS_TOKEN_LIFETIME: '1d',
    WEB_CONCURRENCY: '1',
    HASHERS: '1',
    ARGON2_MEMORY: String(passwordCost.memory),
    ARGON2_TIME: String(passwordCost.time),
    LOGIN_BACKOFF: 'off',
    KEEPALIVE_REQUESTS: '0',
    LOG_LEVEL: 'warn'
  })
  const digest = await makeArgon2Writer(passwordCost).hash(password)
  const users = Array.from({ length: 100 }, (_, index) => ({ id: `${index}`, username: `user-${index}` }))
  await run(['migrate'], settings)
  const lines = users.map((user) => JSON.stringify({ ...user, password_hash: digest }))
  await run(['users', 'import', '-', '--format', 'ndjson'], settings, lines.join('\n'))
  const client = JSON.parse(await run(['clients', 'create', 'gateway', '--json'], settings))

  await beginRevocationList(settings)
  const minter = await openCodec({ SIGNING_KEY: key, ALGORITHM: 'ES256' })
  scope.teardown(() => minter.close())
  return {
    settings,
    floorParts: { key, redisUrl: redis.url, databaseUrl: postgres.url, digest, clientSecret: client.client_secret },
    credentials: users.map(({ username }) => JSON.stringify({ username, password })),
    authorization: basic(client.client_id, client.client_secret),
    mintAccess: (count) =>
      Array.from({ length: count }, (_, index) =>
        minter.codec.sign('access', {
          token_type: 'access',
          exp: systemClock() + 86_400,
          iat: systemClock(),
          jti: index.toString(16).padStart(32, '0'),
          user_id: users[index % users.length]?.id,
          sid: index.toString(16).padStart(32, 'f')
        })
      )
  }
}

/**
 * The first start on an empty Redis begins the revocation list, and access tokens of that second or earlier are refused: the tokens
 * of `mintAccess` are of a later one.
 */
async function beginRevocationList(settings: Record<string, string>): Promise<void> {
  const scope = openScope()
  await openKeyturn(scope, { settings })
  await scope.close()
  const second = systemClock()
  while (systemClock() === second) await delay(50)
}

async function run(args: readonly string[], env: Record<string, string>, input = ''): Promise<string> {
  const { code, stdout, stderr } = await runKeyturn(args, env, input)
  if (code !== 0) throw new Error(`keyturn ${args.join(' ')}: ${stderr}`)
  return stdout
}

export interface Service {
  readonly pid: number
  readonly port: number
}

/** With PROFILE, each process leaves a profile of its CPU in that folder when it ends: a fork inherits the flags. */
function profiling(name: string): readonly string[] {
  if (process.env.PROFILE === undefined) return []
  const folder = join(process.env.PROFILE, name)
  mkdirSync(folder, { recursive: true })
  return ['--cpu-prof', `--cpu-prof-dir=${folder}`]
}

/** What is run. */
export type Command = readonly [file: string, ...args: string[]]

/** `keyturn serve`. Its log is read and thrown away. */
export async function openKeyturn(
  scope: Scope,
  { settings }: Pick<Stage, 'settings'>,
  env: Record<string, string> = {},
  command: Command = serveCommand
): Promise<Service> {
  // At the level of warnings it does not say where it listens.
  const port = await freePort()
  const [file, ...args] = command
  const child = spawn(file, [...profiling('keyturn'), ...args], {
    env: { ...settings, ...env, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  child.stdout.resume()
  endWith(scope, child)
  while (child.exitCode === null && !(await isReady(port))) await delay(50)
  if (child.exitCode !== null) throw new Error(`keyturn serve ended with ${child.exitCode}`)
  return { pid: child.pid ?? 0, port }
}

const isReady = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/health/ready`).then(
    ({ ok }) => ok,
    () => false
  )

/** The same on an embedded database of its own, with the same users; their ids differ. */
export async function openEmbeddedKeyturn(scope: Scope, stage: Stage): Promise<Service> {
  const embedded = { DATABASE_URL: '', REDIS_URL: '', DATA_DIR: aDataDir(scope) }
  const lines = stage.credentials
    .map((body) => JSON.parse(body).username)
    .map((username) => JSON.stringify({ username, password_hash: stage.floorParts.digest }))
  await run(['users', 'import', '-', '--format', 'ndjson'], { ...stage.settings, ...embedded }, lines.join('\n'))
  return openKeyturn(scope, stage, embedded)
}

/** bench/floor.ts. It hashes one password at a time, as one hasher does. */
export async function openFloor(scope: Scope, { floorParts, settings }: Stage): Promise<Service> {
  const file = fileURLToPath(new URL('./floor.js', import.meta.url))
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-floor-'))
  scope.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const child = spawn(process.execPath, [...profiling('floor'), file], {
    env: { PATH: settings.PATH ?? '', UV_THREADPOOL_SIZE: '1', FLOOR: JSON.stringify({ ...floorParts, folder }) },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  endWith(scope, child)
  const [line] = await once(child.stdout, 'data')
  return { pid: child.pid ?? 0, port: Number(/:(\d+)\s*$/.exec(String(line))?.[1]) }
}

function endWith(scope: Scope, child: ChildProcess): void {
  const ended = once(child, 'exit')
  scope.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
}

/** A service with a client of its own. */
export async function openSide(scope: Scope, { pid, port }: Service, load: Load): Promise<Side> {
  const client = fork(fileURLToPath(new URL('./client.js', import.meta.url)))
  scope.teardown(() => client.kill('SIGKILL'))
  const task: Task = { port, load }
  client.send(task)
  await once(client, 'message')
  return {
    pid,
    async ask(order: RoundOrder) {
      client.send(order)
      const [answer] = (await once(client, 'message')) as [Round | { readonly failure: string }]
      if ('failure' in answer) throw new Error(answer.failure)
      return answer
    }
  }
}

/**
 * Throws unless both sides answer their first request with the same header fields and as many bytes (within 5 %): a floor that
 * sends less would look better than it is.
 */
export async function requireSameAnswers(floor: Sent, ours: Sent): Promise<void> {
  const [low, high] = [await answerTo(floor), await answerTo(ours)]
  const missing = high.names.filter((name) => !low.names.includes(name))
  const additional = low.names.filter((name) => !high.names.includes(name))
  const isSameSize = Math.abs(high.bytes - low.bytes) <= high.bytes / 20
  if (missing.length + additional.length === 0 && isSameSize) return
  throw new Error(
    `${ours.load.path}: the floor lacks the fields [${missing}], has [${additional}] in addition, and sends ` +
      `${low.bytes} bytes instead of ${high.bytes}`
  )
}

export interface Sent {
  readonly service: Service
  readonly load: Load
}

async function answerTo({ service, load: { method, path, headers, bodies } }: Sent) {
  const body = method === 'GET' ? {} : { body: bodies[0] ?? '' }
  const answer = await fetch(`http://127.0.0.1:${service.port}${path}`, { method, headers: { ...headers }, ...body })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`${path}: answered ${answer.status} ${text}`)
  const fields = [...answer.headers]
  const head = fields.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)
  return { names: fields.map(([name]) => name), bytes: head + text.length }
}

/** Logs every user in: the bodies of refreshes. */
export async function refreshBodies({ credentials }: Stage, { port }: Service): Promise<readonly string[]> {
  const bodies: string[] = []
  for (const credential of credentials) {
    const { status, body } = await post(`http://127.0.0.1:${port}/api/token/`, JSON.parse(credential))
    if (status !== 200) throw new Error(`a login was answered ${status}`)
    bodies.push(JSON.stringify({ refresh: body.refresh }))
  }
  return bodies
}

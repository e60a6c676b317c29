/* `keyturn serve` as a process: its start, its stop, and stores that go away and come back. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { until } from '../support/arbiter.ts'
import { aDataDir, type RunningKeyturn, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutRedis } from '../support/needs.ts'
import { atMost } from '../support/slack.ts'

const password = 'correct horse'
const secret = 'a secret that SIGNING_KEY has for this test'

interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: Record<string, string>
  /** How long it took, in milliseconds. */
  readonly ms: number
}

/** POSTs JSON on a connection of its own, or GETs when there is no body. */
async function ask(url: string, body?: object): Promise<Answer> {
  const began = performance.now()
  const text = body === undefined ? '' : JSON.stringify(body)
  const method = body === undefined ? 'GET' : 'POST'
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const sent = request(url, { method, agent: false, headers }).end(text)
  const [answer] = await once(sent, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return {
    status: answer.statusCode,
    headers: answer.headers,
    body: JSON.parse(Buffer.concat(chunks).toString() || '{}'),
    ms: performance.now() - began
  }
}

const endpointsOf = ({ url }: Pick<RunningKeyturn, 'url'>) => ({
  logIn: () => ask(`${url}/api/token/`, { username: 'vitor', password }),
  refresh: (refresh = '') => ask(`${url}/api/token/refresh/`, { refresh }),
  verify: (token = '') => ask(`${url}/api/token/verify/`, { token }),
  logOut: (refresh = '') => ask(`${url}/api/token/blacklist/`, { refresh }),
  live: () => ask(`${url}/health/live`),
  ready: () => ask(`${url}/health/ready`)
})

const messagesOf = ({ output }: RunningKeyturn): string[] =>
  output()
    .stdout.trim()
    .split('\n')
    .map((line) => JSON.parse(line).msg)

const addUser = async (t: Test, env: Record<string, string>): Promise<void> => {
  t.match(await runKeyturn(['users', 'create', 'vitor'], env, password), { code: 0 })
}

/** A process that could not start said why in so many lines, and is gone. */
async function isRefused(t: Test, env: Record<string, string>, lines: readonly RegExp[]): Promise<void> {
  const { code, stdout, stderr } = await runKeyturn(['serve'], { PORT: '0', ...env })
  t.not(code, 0)
  t.not(code, null)
  const reported = stderr.trimEnd().split('\n')
  t.equal(reported.length, lines.length, stderr)
  for (const [index, line] of lines.entries()) t.match(reported[index], line)
  t.equal(stdout, '')
}

/** Asks again until the answer is `status`; at most ten seconds. */
async function answered(status: number, send: () => Promise<Answer>): Promise<Answer> {
  const deadline = performance.now() + atMost(10_000)
  while (true) {
    const answer = await send()
    if (answer.status === status || performance.now() > deadline) return answer
    await delay(100)
  }
}

t.test('from the first start to the second, with nothing configured', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  const first = await startKeyturn(t, env)
  await until(() => first.output().stdout.includes('Then log in'), 'the start is logged')
  t.match(messagesOf(first), [
    /^Keyturn listens on http:/,
    `DATABASE_URL is not set: users and keys are stored in ${env.DATA_DIR}`,
    `REDIS_URL is not set: sessions are stored in ${env.DATA_DIR}`,
    /^No users exist yet\. .* users create vitor$/,
    /^Then log in: {2}curl .*\/api\/token\/$/
  ])
  t.equal((await endpointsOf(first).logIn()).status, 401)
  await addUser(t, env)
  const login = await endpointsOf(first).logIn()
  t.equal(login.status, 200, 'a user created beside the running server')
  const over = await endpointsOf(first).logIn()
  t.equal((await endpointsOf(first).logOut(over.body.refresh)).status, 200)
  t.equal(await first.stop(), 0)
  t.equal(first.output().stderr, '')
  t.equal(messagesOf(first).at(-1), 'Keyturn stopped')
  await t.rejects(endpointsOf(first).live(), { code: 'ECONNREFUSED' })

  const second = await startKeyturn(t, env)
  const endpoints = endpointsOf(second)
  t.notMatch(messagesOf(second).join('\n'), 'no users yet')
  t.equal((await endpoints.verify(login.body.access)).status, 200, 'the keys are the same')
  t.equal((await endpoints.refresh(login.body.refresh)).status, 200, 'the session is still there')
  t.equal((await endpoints.refresh(over.body.refresh)).status, 401, 'what has ended stays ended')
  t.equal((await endpoints.verify(over.body.access)).status, 401)
  t.equal(await second.stop('SIGINT'), 0)
})

t.test('what keeps it from starting is said in as many lines', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  t.teardown(() => holder.close())
  const { port } = holder.address() as { port: number }
  await Promise.all([
    isRefused(t, { ...env, PORT: 'http', SIGNING_KEY: 'hunter2', LEEWAY: '1y' }, [
      /^PORT: got "http", expected an integer from 0 to 65535\.$/,
      /^LEEWAY: got "1y", expected a duration/,
      /^SIGNING_KEY: got 7 bytes, expected at least 32/
    ]),
    isRefused(t, { ...env, PORT: String(port) }, [
      new RegExp(`^PORT: cannot listen on 127\\.0\\.0\\.1 port ${port}: the address is already in use\\.$`)
    ]),
    isRefused(t, { ...env, REDIS_URL: 'redis://:hunter2@127.0.0.1:1' }, [
      /^REDIS_URL: cannot be used, (?!.*hunter2).*ECONNREFUSED/
    ]),
    isRefused(t, { SIGNING_KEY: secret, DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' }, [
      /^DATABASE_URL: cannot be used, (?!.*hunter2).*ECONNREFUSED/
    ]),
    isRefused(t, { DATA_DIR: '/dev/null/data' }, [/^DATA_DIR: got .* expected a folder that can be written/])
  ])
})

/**
 * A connection that speaks HTTP by hand. `read` resolves with the next answer, or with all up to `end`; `closed` when the server
 * has closed it.
 */
async function speak(t: Test, { url }: RunningKeyturn) {
  const { hostname, port } = new URL(url)
  const socket: Socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  const closed = once(socket, 'close')
  return {
    closed,
    write: (text: string) => void socket.write(text.replaceAll('\n', '\r\n')),
    async read(end = /\r\n\r\n(?=\{).*\}$/s): Promise<string> {
      let text = ''
      while (!end.test(text)) text += (await once(socket, 'data'))[0]
      return text
    }
  }
}

const head = 'POST /api/token/verify/ HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 13\n\n'

t.test('SIGTERM: what was begun is answered, and then the connection is closed', async (t) => {
  const keyturn = await startKeyturn(t, { DATA_DIR: aDataDir(t) })
  const [slow, busy, idle] = [await speak(t, keyturn), await speak(t, keyturn), await speak(t, keyturn)] as const
  for (const connection of [slow, busy, idle]) {
    connection.write(`${head}{"token":"x"}`)
    t.match(await connection.read(), /^HTTP\/1\.1 401 .*\r\nconnection: keep-alive\r\n/is)
  }
  slow.write(`${head}{"token"`)
  const began = performance.now()
  const stopped = keyturn.stop()
  await until(() => keyturn.output().stdout.includes('Keyturn stopping'), 'the stop is logged')

  const { hostname, port } = new URL(keyturn.url)
  // The workers hear of it a moment later.
  const comesIn = () =>
    new Promise<boolean>((resolve) => {
      const late = connect(Number(port), hostname, () => resolve(true)).once('error', () => resolve(false))
      t.teardown(() => late.destroy())
    })
  await until(async () => !(await comesIn()), 'no new connection is accepted')
  busy.write(`${head}{"token":"x"}`)
  t.match(await busy.read(), /^HTTP\/1\.1 401 .*\r\nconnection: close\r\n/is, 'a request on an open connection')
  keyturn.child.kill('SIGTERM')
  await delay(300)
  slow.write(':"x"}')
  t.match(await slow.read(), /^HTTP\/1\.1 401 .*\r\nconnection: close\r\n/is, 'a request that was in flight')
  await Promise.all([slow.closed, busy.closed, idle.closed])
  t.equal(await stopped, 0, 'a second SIGTERM changes nothing')
  const ms = performance.now() - began
  t.ok(ms > 1000 && ms < atMost(5000), `idle connections had a moment: ${ms} ms`)
  t.equal(keyturn.output().stderr, '')
})

t.test(
  'a request that never ends holds a stop no longer than GRACEFUL_TIMEOUT, and SIGINT not even that',
  async (t) => {
    const stuck = async (env: Record<string, string>): Promise<RunningKeyturn> => {
      const keyturn = await startKeyturn(t, { DATA_DIR: aDataDir(t), ...env })
      const connection = await speak(t, keyturn)
      connection.write(`${head}{"token":"x"}`)
      await connection.read()
      connection.write(`${head.replace('\n\n', '\nExpect: 100-continue\n\n')}{"token"`)
      await connection.read(/ 100 Continue\r\n\r\n$/)
      return keyturn
    }
    const timed = async (keyturn: RunningKeyturn, signal: NodeJS.Signals): Promise<number> => {
      const began = performance.now()
      t.equal(await keyturn.stop(signal), 0)
      return performance.now() - began
    }
    const [patient, quick, hastened] = await Promise.all([
      stuck({ GRACEFUL_TIMEOUT: '3' }),
      stuck({ GRACEFUL_TIMEOUT: '300' }),
      stuck({ GRACEFUL_TIMEOUT: '300' })
    ])
    hastened.child.kill('SIGTERM')
    const [cutMs, quickMs, hastenedMs] = await Promise.all([
      timed(patient, 'SIGTERM'),
      timed(quick, 'SIGINT'),
      timed(hastened, 'SIGINT')
    ])
    t.ok(cutMs > 2900 && cutMs < atMost(5000), `cut after ${cutMs} ms`)
    t.ok(quickMs < atMost(4000), `SIGINT: ${quickMs} ms`)
    t.ok(hastenedMs < atMost(4000), `SIGTERM, then SIGINT: ${hastenedMs} ms`)
  }
)

t.test('two processes on PostgreSQL and Redis', { skip: withoutPostgres() || withoutRedis() }, async (t) => {
  const [postgres, redis] = [await needsPostgres(t, { tcp: true, own: true }), await needsRedis(t, { tcp: true })]
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    REDIS_URL: redis.url,
    KEY_ENCRYPTION_SECRET: 'a secret that seals what is in the database',
    DATA_DIR: '/dev/null/none'
  }
  await isRefused(t, env, [/^DATABASE_URL: .*Run: keyturn migrate$/])
  t.match(await runKeyturn(['migrate'], env), { code: 0 })
  const [one, two] = await Promise.all([startKeyturn(t, env), startKeyturn(t, env)])
  t.notMatch(messagesOf(one).join('\n'), /stored in|No users/, 'no hints for those who have configured it')
  await addUser(t, env)
  const login = await endpointsOf(one).logIn()
  t.equal(login.status, 200)
  t.equal((await endpointsOf(two).verify(login.body.access)).status, 200, 'one keyring')
  const next = await endpointsOf(two).refresh(login.body.refresh)
  t.equal(next.status, 200, 'one store of sessions')
  t.match(await runKeyturn(['users', 'deactivate', 'vitor'], env), { code: 0 })
  t.match(await endpointsOf(one).refresh(next.body.refresh), { status: 401, body: { detail: /^No active account/ } })
  t.match(await runKeyturn(['users', 'activate', 'vitor'], env), { code: 0 })
  const { body: kept } = await endpointsOf(one).logIn()
  t.equal(await one.stop(), 0)
  t.equal(await two.stop(), 0)

  const again = await startKeyturn(t, env)
  const last = await endpointsOf(again).refresh(kept.refresh)
  t.equal(last.status, 200)
  if (postgres.isPrivate) {
    await postgres.kill()
    const down = await endpointsOf(again).logIn()
    t.match(down, {
      status: 503,
      headers: { 'retry-after': /^\d+$/ },
      body: { detail: 'Service temporarily unavailable.' }
    })
    t.ok(down.ms < atMost(3000), `answered after ${down.ms} ms`)
    t.equal((await endpointsOf(again).refresh(last.body.refresh)).status, 503)
    t.equal(
      (await endpointsOf(again).verify(last.body.access)).status,
      200,
      'to verify an access token takes no database'
    )
    t.match(await endpointsOf(again).ready(), {
      status: 503,
      body: { status: 'down', checks: { database: 'down', sessions: 'up' } }
    })
    await postgres.restart()
    t.equal((await answered(200, endpointsOf(again).logIn)).status, 200, 'back without a restart')
    t.equal((await endpointsOf(again).refresh(last.body.refresh)).status, 200, 'the failed refresh cost nothing')
  }
  t.equal(await again.stop(), 0)
  t.equal(again.output().stderr, '')
})

t.test('Redis goes away and comes back', { skip: withoutRedis() }, async (t) => {
  const redis = await needsRedis(t, { tcp: true, appendonly: true })
  if (!redis.isPrivate) return t.pass('TEST_REDIS_URL is not ours to stop')
  const env = { DATA_DIR: aDataDir(t), REDIS_URL: redis.url, REVOCATION_STALENESS: '2' }
  const keyturn = await startKeyturn(t, env)
  const endpoints = endpointsOf(keyturn)
  await addUser(t, env)
  const login = await endpoints.logIn()

  const isDown = async (send: () => Promise<Answer>, name: string): Promise<void> => {
    const answer = await send()
    t.match(answer, {
      status: 503,
      headers: { 'retry-after': /^\d+$/ },
      body: { detail: 'Service temporarily unavailable.' }
    })
    t.ok(answer.ms < atMost(3000), `${name} was answered after ${Math.round(answer.ms)} ms`)
  }
  for (const [signal, back] of [
    ['SIGKILL', () => redis.restart()],
    ['SIGSTOP', () => redis.kill('SIGCONT')]
  ] as const) {
    await redis.kill(signal)
    await isDown(() => endpoints.refresh(login.body.refresh), `${signal}: refresh`)
    await isDown(() => endpoints.logOut(login.body.refresh), `${signal}: logout`)
    await isDown(endpoints.logIn, `${signal}: login`)
    t.match(await endpoints.ready(), { status: 503, body: { checks: { database: 'up', sessions: 'down' } } })
    t.equal((await endpoints.live()).status, 200)
    const closed = await answered(503, () => endpoints.verify(login.body.access))
    t.equal(closed.status, 503, 'nothing is verified by a list of revocations that may be old')
    await back()
    const next = await answered(200, () => endpoints.logIn())
    t.equal(next.status, 200, 'back without a restart')
    t.equal((await answered(200, () => endpoints.verify(next.body.access))).status, 200)
    t.equal((await answered(200, endpoints.ready)).status, 200)
  }
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

t.test('a refresh is one round trip to Redis', { skip: withoutRedis() }, async (t) => {
  const redis = await needsRedis(t, { tcp: true, own: true })
  if (!redis.isPrivate) return t.pass('TEST_REDIS_URL has other clients')
  const env = { DATA_DIR: aDataDir(t), REDIS_URL: redis.url }
  const keyturn = await startKeyturn(t, env)
  const endpoints = endpointsOf(keyturn)
  await addUser(t, env)
  const login = await endpoints.logIn()
  // The first of all brings the script to the server.
  const { body } = await endpoints.refresh(login.body.refresh)

  const { hostname, port } = new URL(redis.url)
  const monitor = connect(Number(port), hostname).setEncoding('utf8')
  t.teardown(() => monitor.destroy())
  let text = ''
  monitor.on('data', (chunk: string) => {
    text += chunk
  })
  monitor.write('MONITOR\r\n')
  await until(() => text.startsWith('+OK'), 'Redis monitors')
  t.equal((await endpoints.refresh(body.refresh)).status, 200)
  t.equal((await endpoints.refresh(body.refresh)).status, 200, 'presented again')
  // The monitor reports commands in their order.
  const marker = new Redis(redis.options)
  t.teardown(() => marker.disconnect())
  await marker.echo('the last')
  await until(() => text.includes('"the last"'), 'Redis has reported all')
  // What a script does is tagged lua. The revocation feed is followed on a connection of its own, at its own times.
  const received = text.split('\r\n').flatMap((line) => {
    const [, connection] = / \[\d+ ([\d.]+:\d+)\] /.exec(line) ?? []
    return connection === undefined ? [] : [{ connection, line }]
  })
  const { connection } = received.find(({ line }) => line.includes('"keyturn:{')) ?? {}
  const commands = received.filter((command) => command.connection === connection).map(({ line }) => line)
  t.equal(commands.length, 2, `one command a refresh:\n${commands.join('\n')}`)
  for (const command of commands) t.match(command, /"evalsha" /i)
  t.match(text, /\[0 lua\] "HSET"/)
  t.equal(await keyturn.stop(), 0)
})

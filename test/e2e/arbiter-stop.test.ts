/* Stops: SIGTERM to the arbiter or to all processes at once, with requests in flight, and quick stops. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { isAlive, logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, runKeyturn, serveCommand, testSettings } from '../support/keyturn.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutRedis } from '../support/needs.ts'
import { holdConnection, type Probe, untilDraining } from '../support/readiness.ts'
import { startTraffic } from '../support/traffic.ts'

t.setTimeout(900_000)

const everyone = (keyturn: RunningArbiter): number[] => [
  keyturn.pid,
  ...keyturn.ready('worker'),
  ...keyturn.ready('hasher')
]

/** A module that takes two seconds for the claims of a login. */
function slowClaims(t: Test): string {
  const module = join(aDataDir(t), 'claims.mjs')
  writeFileSync(module, 'export default () => new Promise((end) => setTimeout(end, 2000, {}))')
  return module
}

/** One request on a connection of its own, which the server has begun to read, and waits for the rest of. */
interface Begun {
  readonly socket: Socket
  /** Sends the rest. Resolves with the whole answer once the connection is closed; with an error's code where it breaks. */
  end(): Promise<string>
}

async function begin(t: Test, { url }: RunningArbiter, path: string, body: object): Promise<Begun> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname).setEncoding('utf8')
  t.teardown(() => socket.destroy())
  const text = JSON.stringify(body)
  const head = [`POST ${path} HTTP/1.1`, 'Host: x', 'Content-Type: application/json', `Content-Length: ${text.length}`]
  // The server answers 100 once it has read the head, so the test need not guess when.
  socket.write(`${[...head, 'Expect: 100-continue'].join('\r\n')}\r\n\r\n`)
  const [sofar] = await once(socket, 'data')
  if (!String(sofar).startsWith('HTTP/1.1 100')) throw new Error(sofar)
  socket.write(text.slice(0, 5))
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    answer += error.code
  })
  const closed = once(socket, 'close')
  return {
    socket,
    async end() {
      if (socket.writable) socket.write(text.slice(5))
      await closed
      return answer
    }
  }
}

const beginVerify = (t: Test, keyturn: RunningArbiter) => begin(t, keyturn, '/api/token/verify/', { token: 'none' })
const beginLogin = (t: Test, keyturn: RunningArbiter) => begin(t, keyturn, '/api/token/', login)

const troubles = (keyturn: RunningArbiter) =>
  keyturn.lines().filter(({ level }) => /warn|error|fatal/.test(String(level)))
const send = (pids: readonly number[], signal: NodeJS.Signals): void => {
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, signal)
}

/** Whether nothing accepts connections any more. */
async function isRefused({ url }: RunningArbiter): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  try {
    await once(socket, 'connect')
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
  } finally {
    socket.destroy()
  }
}

t.test('stop: SIGTERM answers 100 requests in flight, sent to the arbiter or to all processes', async (t) => {
  const graceful = 120
  const to: readonly (readonly [whom: string, pids: (keyturn: RunningArbiter) => readonly number[]])[] = [
    ['the arbiter', ({ pid }) => [pid]],
    ['all processes, as Heroku does', everyone]
  ]
  for (const [whom, pidsOf] of to) {
    const keyturn = await startArbiter(t, { CLAIMS_MODULE: slowClaims(t), GRACEFUL_TIMEOUT: String(graceful) })
    await logIn(keyturn)
    const bodies = await Promise.all(Array.from({ length: 80 }, () => beginVerify(t, keyturn)))
    const logins = await Promise.all(Array.from({ length: 20 }, () => beginLogin(t, keyturn)))
    const statuses = logins.map((each) => each.end())
    const pids = pidsOf(keyturn)
    const closed = once(keyturn.child, 'close')
    const began = performance.now()
    send(pids, 'SIGTERM')
    // A platform may send it many times, to the very end.
    const again = setInterval(() => send(pids, 'SIGTERM'), 2)
    // Every listening socket is closed, so every worker drains.
    await until(() => isRefused(keyturn))
    const answers = await Promise.all(bodies.map((each) => each.end()))
    const tokens = await Promise.all(statuses)
    const [code] = await closed
    clearInterval(again)
    const seconds = (performance.now() - began) / 1000

    t.comment(`to ${whom}: ${answers.length + tokens.length} answered, gone after ${seconds.toFixed(2)} s`)
    t.strictSame(
      answers.filter((answer) => !/^HTTP\/1\.1 401 .*\r\nconnection: close\r\n/is.test(answer)),
      []
    )
    t.strictSame(
      tokens.filter((answer) => !/^HTTP\/1\.1 200 .*"refresh":/is.test(answer)),
      []
    )
    t.equal(code, 0, `signalled again and again, to ${whom}`)
    t.ok(seconds < graceful)
    t.strictSame(troubles(keyturn), [])
    t.equal(keyturn.output().stderr, '')
  }
})

t.test(
  'stop: the stores are closed after the last request',
  { skip: withoutPostgres() || withoutRedis() },
  async (t) => {
    const [postgres, redis] = [await needsPostgres(t, { tcp: true }), await needsRedis(t, { tcp: true })]
    const env = {
      DATABASE_URL: await postgres.createDatabase(),
      REDIS_URL: redis.url,
      KEY_ENCRYPTION_SECRET: 'a secret that seals what is in the database',
      CLAIMS_MODULE: slowClaims(t),
      GRACEFUL_TIMEOUT: '120'
    }
    t.match(await runKeyturn(['migrate'], env), { code: 0 })
    const keyturn = await startArbiter(t, env)
    await logIn(keyturn)
    // A session starts in Redis two seconds after its password was read from PostgreSQL.
    const logins = (await Promise.all(Array.from({ length: 20 }, () => beginLogin(t, keyturn)))).map((each) =>
      each.end()
    )
    const closed = once(keyturn.child, 'close')
    send(everyone(keyturn), 'SIGTERM')
    const answers = await Promise.all(logins)
    t.strictSame(
      answers.filter((answer) => !/^HTTP\/1\.1 200 .*"refresh":/is.test(answer)),
      []
    )
    t.equal((await closed)[0], 0)
    t.strictSame(troubles(keyturn), [])
    t.equal(keyturn.output().stderr, '')
  }
)

t.test('stop: SIGTERM loses no request on an open connection', async (t) => {
  const keyturn = await startArbiter(t)
  const { access } = await logIn(keyturn)
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: access }, status: 200 } as const
  const traffic = startTraffic(keyturn.url, [call], { kept: 6, fresh: 3 })
  await until(() => traffic.report().answered.kept > 60)
  t.equal(await keyturn.stop(), 0)
  const { failures, answered } = await traffic.stop()
  const [reset, refused] = ['ECONNRESET', 'ECONNREFUSED'].map((code) =>
    failures.filter(({ reason }) => reason === code)
  )
  t.comment(
    `${answered.kept + answered.fresh} answered, then ${refused?.length} refused; ${reset?.length} reset on arrival`
  )
  t.strictSame(
    failures.filter(({ before }) => before !== undefined),
    [],
    'no request on an open connection failed'
  )
  t.equal(failures.length, Number(reset?.length) + Number(refused?.length))
  // The kernel had queued them, and no worker had accepted them: at most one connection of each client.
  t.ok(Number(reset?.length) <= 9)
})

t.test('stop: SIGINT and SIGQUIT end it quickly, and GRACEFUL_TIMEOUT cuts what is left', async (t) => {
  const stuck = async (env: Record<string, string> = {}): Promise<RunningArbiter> => {
    const keyturn = await startArbiter(t, { GRACEFUL_TIMEOUT: '240', CLAIMS_MODULE: slowClaims(t), ...env })
    await logIn(keyturn)
    await beginVerify(t, keyturn)
    void (await beginLogin(t, keyturn)).end()
    return keyturn
  }
  // The promise is four seconds; a busy machine may need more, but far less than GRACEFUL_TIMEOUT.
  const gone = async (keyturn: RunningArbiter, what: string): Promise<void> => {
    const began = performance.now()
    const [code] = await once(keyturn.child, 'close')
    const seconds = (performance.now() - began) / 1000
    t.comment(`${what}: gone after ${seconds.toFixed(2)} s`)
    t.equal(code, 0, what)
    t.ok(seconds < 60, `${seconds} s`)
    t.equal(keyturn.output().stderr, '')
  }
  const interrupted = await stuck()
  send(everyone(interrupted), 'SIGINT')
  await gone(interrupted, 'SIGINT to all, as from a terminal')

  const hastened = await stuck()
  hastened.child.kill('SIGTERM')
  await hastened.next('worker draining', 0)
  hastened.child.kill('SIGQUIT')
  await gone(hastened, 'SIGTERM, then SIGQUIT')

  const cut = await stuck({ GRACEFUL_TIMEOUT: '3' })
  cut.child.kill('SIGTERM')
  await gone(cut, 'SIGTERM, and a request that never ends, GRACEFUL_TIMEOUT 3 s')

  const unready = await startArbiter(t)
  unready.child.kill('SIGHUP')
  await unready.next('worker starting')
  unready.child.kill('SIGTERM')
  await gone(unready, 'SIGTERM in a reload')
})

t.test('stop: SIGINT and SIGQUIT to the service make readiness 503', async (t) => {
  /** The answer of the worker once it drains; undefined if the connection was cut before: that is a second after the signal. */
  const afterSignal = async (signal: NodeJS.Signals): Promise<Probe | undefined> => {
    const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' })
    const held = await holdConnection(t, keyturn)
    const closed = once(keyturn.child, 'close')
    keyturn.child.kill(signal)
    const answer = await untilDraining(held).catch(() => undefined)
    held.close()
    t.equal((await closed)[0], 0)
    return answer
  }
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    let answer: Probe | undefined
    for (let tries = 0; tries < 10 && answer === undefined; tries++) answer = await afterSignal(signal)
    t.same(answer, { status: 503, serving: 'down', closes: true }, signal)
  }
})

/** `keyturn serve` that has just been started. */
function begun(t: Test) {
  const [file, ...args] = serveCommand
  const env = testSettings({ PORT: '0', WEB_CONCURRENCY: '2', LOG_LEVEL: 'debug', DATA_DIR: aDataDir(t) })
  const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return {
    child,
    closed: once(child, 'close'),
    text: () => text,
    lives: () =>
      [...text.matchAll(/"(?:worker|hasher)":(\d+),"msg":"(?:worker|hasher) starting"/g)].map(([, pid]) => Number(pid))
  }
}

t.test('stop: SIGTERM while it starts exits with 0', async (t) => {
  for (const [after, to] of [
    ['worker starting', 'arbiter'],
    ['hasher starting', 'all'],
    ['hasher starting', 'all, the arbiter last'],
    ['hasher ready', 'all']
  ] as const) {
    const { child, lives, closed, text } = begun(t)
    await until(() => text().includes(after))
    if (to === 'all, the arbiter last') {
      send(lives(), 'SIGTERM')
      // The arbiter may see them exit, and must not take that for failed boots.
      await delay(200)
    }
    send([Number(child.pid), ...(to === 'all' ? lives() : [])], 'SIGTERM')
    const [code] = await closed
    t.equal(code, 0, `to ${to} as ${after}`)
    t.notOk(lives().some(isAlive))
    t.notMatch(text(), /"level":"error"/)
  }
})

t.test('SHUTDOWN_DELAY: everything is served for a while, except that readiness is 503', async (t) => {
  const keyturn = await startArbiter(t, { SHUTDOWN_DELAY: '240' })
  const { access } = await logIn(keyturn)
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: access }, status: 200 } as const
  const ready = async () => await fetch(`${keyturn.url}/health/ready`, { headers: { connection: 'close' } })
  t.equal((await ready()).status, 200)
  const closed = once(keyturn.child, 'close')
  keyturn.child.kill('SIGTERM')
  await keyturn.next('worker draining', 0)
  await until(async () => (await ready()).status === 503)
  t.match(await (await ready()).json(), { status: 'down', checks: { serving: 'down', database: 'up' } })
  const traffic = startTraffic(keyturn.url, [call])
  await until(() => traffic.report().answered.fresh > 20)
  t.strictSame((await traffic.stop()).failures, [], 'everything is served as before')
  const began = performance.now()
  keyturn.child.kill('SIGINT')
  t.equal((await closed)[0], 0)
  t.ok(performance.now() - began < 60_000, 'SIGINT does not wait for the delay')
  t.equal(keyturn.output().stderr, '')

  const patient = await startArbiter(t, { SHUTDOWN_DELAY: '1' })
  t.equal(await patient.stop(), 0, 'the delay ends by itself')
})

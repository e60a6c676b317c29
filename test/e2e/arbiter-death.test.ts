/*
 * Processes that die, hang or are stopped, and what replaces them. KEYTURN_SECONDS=90 also waits for the minute after which
 * the arbiter gives up.
 */
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { isAlive, logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, post, runKeyturn, serveCommand } from '../support/keyturn.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutRedis } from '../support/needs.ts'
import { type Call, type Failure, startTraffic } from '../support/traffic.ts'

t.setTimeout(900_000)
const seconds = Number(process.env.KEYTURN_SECONDS ?? 0)

async function someCalls(keyturn: RunningArbiter): Promise<Call[]> {
  const { access } = await logIn(keyturn)
  return [
    { method: 'POST', path: '/api/token/verify/', body: { token: access }, status: 200 },
    { method: 'GET', path: '/api/sessions/', headers: { authorization: `Bearer ${access}` }, status: 200 }
  ]
}

const lifeOf = (keyturn: RunningArbiter, pid: number) => keyturn.lives('worker').find((life) => life.pid === pid)

/** Seconds from `at` until these workers have exited and as many as wanted are ready. */
async function untilReplaced(
  keyturn: RunningArbiter,
  count: number,
  victims: () => readonly number[],
  at: number
): Promise<number> {
  const isGone = (pid: number) => lifeOf(keyturn, pid)?.exitedAt !== undefined
  await until(() => victims().every(isGone) && keyturn.ready('worker').length === count)
  return (Math.max(...keyturn.lives('worker').map(({ readyAt = 0 }) => readyAt)) - at) / 1000
}

/** Whether a request failed only because its connection was to a victim. */
function isExcused(keyturn: RunningArbiter, victims: readonly number[], at: number, failure: Failure): boolean {
  const { before, begunAt } = failure
  if (before === undefined) return begunAt <= at
  const line = keyturn.lines().find(({ reqId }) => reqId === before)
  // Only a killed worker loses log lines: those of its last milliseconds.
  return line === undefined || victims.includes(Number(line.pid))
}

t.test('arbiter: a worker that is killed under load is replaced, and only its own connections break', async (t) => {
  const keyturn = await startArbiter(t)
  const traffic = startTraffic(keyturn.url, await someCalls(keyturn))
  await until(() => traffic.report().answered.kept > 40)
  const victim = keyturn.kill('worker', 'SIGKILL')
  const at = Date.now()
  const seconds = await untilReplaced(keyturn, 2, () => [victim], at)
  const { kept } = traffic.report().answered
  await until(() => traffic.report().answered.kept > kept + 20)
  const { failures, answered } = await traffic.stop()

  t.comment(
    `ready replacement after ${seconds.toFixed(2)} s; ${failures.length} failed (${failures.map(({ reason }) => reason)}) ` +
      `of ${answered.kept + answered.fresh}`
  )
  // How long a boot takes depends on the machine; that it begins at once does not.
  const { startedAt = 0 } = keyturn.lives('worker').at(-1) ?? {}
  t.ok(startedAt - (lifeOf(keyturn, victim)?.exitedAt ?? 0) < 1000, 'its replacement starts at once')
  t.strictSame(
    failures.filter((failure) => !isExcused(keyturn, [victim], at, failure)),
    [],
    'only its connections'
  )
  t.match(
    keyturn.lines().find(({ worker, code }) => worker === victim && code !== undefined),
    { level: 'error', msg: 'worker died; perhaps out of memory', signal: 'SIGKILL', code: null }
  )
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

t.test('arbiter: while the only worker is replaced, new connections wait for the next one', async (t) => {
  const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' })
  const traffic = startTraffic(keyturn.url, await someCalls(keyturn), { kept: 0, fresh: 4 })
  await until(() => traffic.report().answered.fresh > 20)
  const victim = keyturn.kill('worker', 'SIGKILL')
  const at = Date.now()
  const replaced = await untilReplaced(keyturn, 1, () => [victim], at)
  const { fresh } = traffic.report().answered
  await until(() => traffic.report().answered.fresh > fresh + 20)
  const { failures, longest } = await traffic.stop()
  t.comment(
    `replaced after ${replaced.toFixed(2)} s; ${failures.length} failed; the longest took ${Math.round(longest)} ms`
  )
  t.strictSame(
    failures.filter(({ begunAt }) => begunAt > at),
    [],
    'no connection is refused'
  )
  t.equal(await keyturn.stop(), 0)
})

t.test('arbiter: a stopped worker and one with a blocked event loop are killed and replaced', async (t) => {
  // Longer than a worker that is alive may be starved on a busy machine.
  const timeout = 10
  const folder = aDataDir(t)
  const [module, marker] = ['claims.mjs', 'blocked'].map((name) => join(folder, name)) as [string, string]
  const block = `writeFileSync(${JSON.stringify(marker)}, ''); while (true);`
  writeFileSync(
    module,
    `import { writeFileSync } from 'node:fs'\nexport default ({ username }) => { if (username === 'endless') { ${block} } return {} }`
  )
  const keyturn = await startArbiter(t, { TIMEOUT: String(timeout), WEB_CONCURRENCY: '3', CLAIMS_MODULE: module })
  const calls = await someCalls(keyturn)
  await runKeyturn(['users', 'create', 'endless'], keyturn.settings, login.password)

  const stopped = keyturn.kill('worker', 'SIGSTOP')
  // On a connection of its own: fetch might reuse one to the stopped worker.
  const body = JSON.stringify({ ...login, username: 'endless' })
  const headers = { 'content-type': 'application/json' }
  const hanging = request(`${keyturn.url}/api/token/`, { method: 'POST', agent: false, headers }).end(body)
  const failed = t.rejects(once(hanging, 'response'), 'its client sees a closed connection')
  await until(() => existsSync(marker))
  const at = Date.now()
  const traffic = startTraffic(keyturn.url, calls, { kept: 0, fresh: 3 })
  await failed
  const silent = () => keyturn.lives('worker').filter(({ abortedAt }) => abortedAt !== undefined)
  const replaced = await untilReplaced(keyturn, 3, () => [stopped, ...silent().map(({ pid }) => pid)], at)
  const { failures, answered, longest } = await traffic.stop()

  const blocked = silent().find(({ pid }) => pid !== stopped)
  const of = silent().map(
    ({ signal, abortedAt = 0, exitedAt = 0 }) =>
      `${signal}: found after ${(abortedAt - at) / 1000} s, gone after ${(exitedAt - at) / 1000} s`
  )
  t.comment(`TIMEOUT ${timeout} s; ${of.join('; ')}; as many as wanted after ${replaced.toFixed(2)} s`)
  t.comment(`meanwhile ${answered.fresh} answers by the third, the longest after ${Math.round(longest)} ms`)
  t.equal(silent().length, 2)
  t.equal(lifeOf(keyturn, stopped)?.signal, 'SIGKILL', 'a stopped process does not receive SIGABRT')
  t.match(blocked?.signal, /^SIG(ABRT|KILL)$/)
  t.strictSame(failures, [], 'the third serves throughout')
  t.ok(answered.fresh > 50)
  t.equal(await keyturn.stop(), 0)
})

t.test('arbiter: SIGABRT ends a worker with a blocked event loop', async (t) => {
  const module = join(aDataDir(t), 'claims.mjs')
  writeFileSync(module, 'export default () => { while (true); }')
  const env = { TIMEOUT: '6', CLAIMS_MODULE: module, WEB_CONCURRENCY: '1' }
  // The module that tap loads into child processes handles SIGABRT.
  const keyturn = await startArbiter(t, env, { command: ['env', '-u', 'NODE_OPTIONS', ...serveCommand] })
  await runKeyturn(['users', 'create', login.username], keyturn.settings, login.password)
  // On a busy machine the process may need more than the half second it has before SIGKILL.
  for (let attempt = 0; attempt < 3; attempt++) {
    const [victim = Number.NaN] = keyturn.ready('worker')
    await t.rejects(post(`${keyturn.url}/api/token/`, login))
    await until(() => lifeOf(keyturn, victim)?.exitedAt !== undefined)
    if (lifeOf(keyturn, victim)?.signal === 'SIGABRT') break
    await until(() => keyturn.ready('worker').length === 1)
  }
  t.ok(keyturn.lives('worker').some(({ signal }) => signal === 'SIGABRT'))
  t.equal(await keyturn.stop(), 0)
})

t.test('arbiter: an uncaught exception ends only its worker, which is replaced', async (t) => {
  const module = join(aDataDir(t), 'claims.mjs')
  writeFileSync(module, 'export default () => { setTimeout(() => { throw new Error("a fault") }, 50); return {} }')
  const keyturn = await startArbiter(t, { CLAIMS_MODULE: module })
  await logIn(keyturn)
  const died = await keyturn.next('worker died', 0)
  t.match(died, { level: 'error', code: 1, signal: null })
  t.match(
    keyturn.lines().find(({ level }) => level === 'fatal'),
    { pid: died.worker, msg: 'uncaught exception; stopping this worker', err: { message: 'a fault' } }
  )
  await until(() => keyturn.ready('worker').length === 2)
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

t.test(
  'arbiter: a worker that dies while the database is down is replaced once the database is back',
  { skip: withoutPostgres() || withoutRedis() },
  async (t) => {
    const [postgres, redis] = [await needsPostgres(t, { tcp: true, own: true }), await needsRedis(t, { tcp: true })]
    if (!postgres.isPrivate) return t.pass('TEST_DATABASE_URL is not ours to stop')
    const env = {
      DATABASE_URL: await postgres.createDatabase(),
      REDIS_URL: redis.url,
      KEY_ENCRYPTION_SECRET: 'a secret that seals what is in the database'
    }
    t.match(await runKeyturn(['migrate'], env), { code: 0 })
    const keyturn = await startArbiter(t, env)
    const { access } = await logIn(keyturn)
    const verify = async () => (await post(`${keyturn.url}/api/token/verify/`, { token: access })).status
    const first = keyturn.ready('worker')

    await postgres.kill()
    const from = keyturn.lines().length
    keyturn.child.kill('SIGHUP')
    t.match(await keyturn.next('reload aborted: a new process failed to boot', from), { reason: /^DATABASE_URL: / })
    t.strictSame(keyturn.ready('worker'), first)

    keyturn.kill('worker', 'SIGKILL')
    const failures = () => keyturn.lines().filter(({ msg }) => msg === 'process failed to boot; retrying')
    await until(() => failures().length === 3)
    t.match(failures()[0], { level: 'error', reason: /^DATABASE_URL: cannot be used, .*ECONNREFUSED/ })
    const births = keyturn
      .lives('worker')
      .slice(-3)
      .map(({ startedAt }) => startedAt)
    const waits = births.slice(1).map((startedAt, index) => startedAt - (births[index] ?? 0))
    t.comment(`tried again after ${waits.join(' and ')} ms`)
    t.ok((waits[0] ?? 0) >= 1000 && (waits[1] ?? 0) >= 2000, 'each time it waits longer')
    t.equal(await verify(), 200, 'the other one keeps serving')

    await postgres.restart()
    await until(() => keyturn.ready('worker').length === 2)
    t.equal(await verify(), 200, 'it recovers by itself')
    t.equal(keyturn.output().stderr, '')

    if (seconds >= 90) {
      await postgres.kill()
      for (const pid of keyturn.ready('worker')) process.kill(pid, 'SIGKILL')
      const began = performance.now()
      const [code] = await once(keyturn.child, 'close')
      const waited = (performance.now() - began) / 1000
      t.comment(`without a worker it gave up after ${waited.toFixed(1)} s`)
      t.equal(code, 3)
      t.ok(waited > 59 && waited < 75)
      t.match(keyturn.output().stderr, /^DATABASE_URL: cannot be used, .*\n$/)
      t.notOk([...keyturn.lives('worker'), ...keyturn.lives('hasher')].some(({ pid }) => isAlive(pid)))
    } else {
      t.equal(await keyturn.stop(), 0)
    }
  }
)

/* Signals that are meant for the arbiter and not for its processes, and workers that are replaced after MAX_REQUESTS. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fewestReady, isAlive, logIn, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir } from '../support/keyturn.ts'
import { startTraffic } from '../support/traffic.ts'

t.setTimeout(900_000)

const readyCount = (keyturn: RunningArbiter): number => keyturn.ready('worker').length

t.test(
  'signals: SIGTTIN and SIGTTOU add and remove a worker, never the last; SIGHUP restores the configured number',
  async (t) => {
    const keyturn = await startArbiter(t)
    const traffic = startTraffic(keyturn.url, [{ method: 'GET', path: '/health/live', status: 200 }])
    const first = keyturn.ready('worker')
    const becomes = async (signal: NodeJS.Signals, count: number, what: string): Promise<void> => {
      const from = keyturn.lines().length
      keyturn.child.kill(signal)
      await keyturn.next(signal === 'SIGHUP' ? 'Keyturn reloaded' : 'worker count changed', from)
      await until(() => readyCount(keyturn) === count, what)
    }
    await becomes('SIGTTIN', 3, 'one more')
    t.strictSame(keyturn.ready('worker').slice(0, 2), first, 'beside the first two')
    await becomes('SIGTTOU', 2, 'one less')
    t.strictSame(keyturn.ready('worker')[0], first[1], 'the oldest has drained')
    await becomes('SIGTTOU', 1, 'one less')
    await becomes('SIGTTOU', 1, 'never none')
    await becomes('SIGHUP', 2, 'as configured')
    t.strictSame((await traffic.stop()).failures, [], 'a draining worker finishes its requests')
    t.equal(await keyturn.stop(), 0)
    t.equal(keyturn.output().stderr, '')
  }
)

t.test('signals: workers and hashers ignore those that are meant for the arbiter', async (t) => {
  const keyturn = await startArbiter(t)
  const [workers, hashers] = [keyturn.ready('worker'), keyturn.ready('hasher')]
  for (const signal of ['SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const)
    for (const pid of [...workers, ...hashers]) process.kill(pid, signal)
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const) keyturn.child.kill(signal)
  await until(() => keyturn.lines().some(({ msg }) => String(msg).startsWith('SIGUSR2 ignored: ')))
  t.ok(keyturn.lines().some(({ msg }) => String(msg).startsWith('SIGUSR1 ignored: ')))

  const { answered, failures } = await (async () => {
    const traffic = startTraffic(keyturn.url, [{ method: 'GET', path: '/health/ready', status: 200 }], { fresh: 4 })
    await until(() => traffic.report().answered.fresh > 40)
    return await traffic.stop()
  })()
  t.strictSame(failures, [], `no worker is stopped: ${answered.fresh} answers`)
  t.ok((await logIn(keyturn)).access, 'nor is the hasher')
  t.strictSame([keyturn.ready('worker'), keyturn.ready('hasher')], [workers, hashers])
  t.ok([keyturn.pid, ...workers, ...hashers].every(isAlive))
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '', 'no process has opened an inspector')
})

t.test(
  'signals: a worker that is sent SIGTERM, SIGINT or SIGQUIT exits and is replaced, and that is not an error',
  async (t) => {
    const keyturn = await startArbiter(t)
    const traffic = startTraffic(keyturn.url, [{ method: 'GET', path: '/health/live', status: 200 }])
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
      const from = keyturn.lines().length
      const worker = keyturn.kill('worker', signal)
      t.match(await keyturn.next('worker exited', from), {
        level: 'info',
        worker,
        code: 0,
        signal: null,
        request: signal
      })
      await until(() => readyCount(keyturn) === 2, `a replacement after ${signal}`)
    }
    t.strictSame((await traffic.stop()).failures, [], 'it finishes its requests')
    t.strictSame(
      keyturn.lines().filter(({ level }) => level === 'error'),
      []
    )
    const metrics = await (await fetch(`${keyturn.url}/metrics`)).text()
    t.match(metrics, /^keyturn_process_deaths_total{kind="workers"} 0$/m, 'nor a death')
    const from = keyturn.lines().length
    const worker = keyturn.kill('worker', 'SIGKILL')
    t.match(await keyturn.next('worker died; perhaps out of memory', from), {
      level: 'error',
      worker,
      request: undefined
    })
    t.equal(await keyturn.stop(), 0)
  }
)

t.test('MAX_REQUESTS: the replacement is ready before the old worker drains', async (t) => {
  const keyturn = await startArbiter(t, { MAX_REQUESTS: '60', MAX_REQUESTS_JITTER: '40' })
  const { access } = await logIn(keyturn)
  const from = keyturn.lines().length
  const traffic = startTraffic(keyturn.url, [
    { method: 'POST', path: '/api/token/verify/', body: { token: access }, status: 200 },
    { method: 'GET', path: '/health/live', status: 200 }
  ])
  await until(() => keyturn.lives('worker').filter(({ exitedAt }) => exitedAt !== undefined).length >= 3)
  const { answered, failures } = await traffic.stop()
  t.comment(`${answered.kept + answered.fresh} answers by ${keyturn.lives('worker').length} workers`)
  t.strictSame(failures, [])
  t.equal(fewestReady(keyturn.lines(), 'worker', from), 2)
  await until(() => readyCount(keyturn) === 2)
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

t.test('MAX_REQUESTS: the old worker serves until its replacement can boot', async (t) => {
  const folder = aDataDir(t)
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const broken = write('claims.mjs', 'throw new Error("no claims today")')
  const settings = 'WEB_CONCURRENCY=1\nMAX_REQUESTS=20\n'
  const keyturn = await startArbiter(t, { ENV_FILE: write('env', settings) })
  const first = keyturn.ready('worker')
  write('env', `${settings}CLAIMS_MODULE=${broken}\n`)
  const traffic = startTraffic(keyturn.url, [{ method: 'GET', path: '/health/live', status: 200 }])
  const failed = 'process failed to boot; retrying'
  await until(() => keyturn.lines().filter(({ msg }) => msg === failed).length === 2)
  t.strictSame(keyturn.ready('worker'), first, 'the old one keeps serving')
  write('env', settings)
  await until(() => readyCount(keyturn) === 1 && keyturn.ready('worker')[0] !== first[0])
  t.strictSame((await traffic.stop()).failures, [])
  t.equal(await keyturn.stop(), 0)
})

/* What is seen of the service from outside: its log, its metrics, and that nobody has to read either. */
import t, { type Test } from 'tap'
import { isAlive, logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { post } from '../support/keyturn.ts'
import { startTraffic } from '../support/traffic.ts'

t.setTimeout(300_000)

/** The value of each counter in Prometheus text. */
function countersOf(text: string): Map<string, number> {
  const names = new Set([...text.matchAll(/^# TYPE (\S+) counter$/gm)].map(([, name]) => name))
  const samples = [...text.matchAll(/^(([a-z_]+)\S*(?:\{.*\})?) (\S+)$/gim)]
  return new Map(samples.flatMap(([, key, name, value]) => (names.has(name) ? [[key ?? '', Number(value)]] : [])))
}

const scrape = async ({ url }: RunningArbiter): Promise<string> =>
  await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text()

/** Compares each scrape with the last one, until it is stopped. */
function watchCounters(t: Test, keyturn: RunningArbiter) {
  let last = new Map<string, number>()
  let isOver = false
  let scrapes = 0
  const backwards: string[] = []
  const watch = async (): Promise<void> => {
    while (!isOver) {
      // One that a worker takes to its grave tells nothing.
      const text = await scrape(keyturn).catch(() => undefined)
      if (text === undefined) continue
      const now = countersOf(text)
      for (const [name, value] of last) if (!(Number(now.get(name)) >= value)) backwards.push(`${name} after ${value}`)
      last = now
      scrapes += 1
    }
  }
  const watching = watch()
  return async (): Promise<void> => {
    isOver = true
    await watching
    t.strictSame(backwards, [], `no counter has run backwards in ${scrapes} scrapes`)
  }
}

t.test('metrics are those of all workers, whoever comes and goes', async (t) => {
  const keyturn = await startArbiter(t)
  await logIn(keyturn)
  const verified = 'keyturn_verifications_total{result="token_invalid"}'
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 } as const
  const stop = watchCounters(t, keyturn)
  const traffic = startTraffic(keyturn.url, [call], { kept: 3, fresh: 3 })
  await until(() => traffic.report().answered.fresh > 30, 30)
  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloaded', 0)
  await until(() => keyturn.lives('worker').filter(({ exitedAt }) => exitedAt !== undefined).length === 2, 20)
  const { answered, failures } = await traffic.stop()
  await stop()
  const counters = countersOf(await scrape(keyturn))
  t.strictSame(failures, [])
  t.equal(counters.get(verified), answered.kept + answered.fresh, 'each one is counted, those of the old workers too')
  t.match(await scrape(keyturn), 'keyturn_processes{kind="workers",state="ready"} 2')
  t.match(await scrape(keyturn), 'keyturn_processes{kind="hashers",state="ready"} 1')

  const again = watchCounters(t, keyturn)
  const more = startTraffic(keyturn.url, [call], { kept: 0, fresh: 3 })
  await until(() => more.report().answered.fresh > 30, 30)
  await scrape(keyturn)
  const victim = keyturn.kill('worker', 'SIGKILL')
  await until(() => keyturn.ready('worker').length === 2 && !keyturn.ready('worker').includes(victim), 30)
  await more.stop()
  await again()
  const total = countersOf(await scrape(keyturn)).get(verified)
  t.ok(Number(total) > answered.kept + answered.fresh, 'what was known of the dead one stays')
  t.equal(await keyturn.stop(), 0)
})

t.test('the log: one event a line, in JSON, and no secret in it', async (t) => {
  const keyturn = await startArbiter(t, { METRICS_TOKEN: 'a token for the metrics', LOG_LEVEL: 'trace' })
  const { access, refresh } = await logIn(keyturn)
  const doors = `${keyturn.url}/api/token`
  const wrong = 'a password that is not the right one'
  const pair = (await post(`${doors}/refresh/`, { refresh })).body
  const tokens = [access, refresh, pair.access ?? '', pair.refresh ?? '']
  for (const token of tokens) await post(`${doors}/verify/`, { token })
  await post(`${doors}/`, { username: login.username, password: wrong })
  await post(`${doors}/refresh/`, { refresh: `${refresh}x` })
  await post(`${doors}/verify/`, { token: access, password: wrong })
  const authorization = `Bearer ${access}`
  const id = 'an-id-of-this-test-0001'
  const sessions = await fetch(`${keyturn.url}/api/sessions/?token=${access}`, {
    headers: { authorization, cookie: `__Host-refresh=${refresh}`, 'x-request-id': id }
  })
  t.equal(sessions.headers.get('x-request-id'), id)
  await fetch(`${keyturn.url}/metrics`, { headers: { authorization: 'Bearer a token for the metrics' } })
  await post(`${doors}/blacklist/`, { refresh: pair.refresh ?? '' })
  await until(() => keyturn.lines().some(({ event }) => event === 'logout'), 5)
  const victim = keyturn.kill('worker', 'SIGKILL')
  await until(() => keyturn.ready('worker').length === 2 && !keyturn.ready('worker').includes(victim), 30)
  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloaded')
  t.equal(await keyturn.stop(), 0)

  const { stdout, stderr } = keyturn.output()
  t.equal(stderr, '')
  for (const line of stdout.trimEnd().split('\n')) {
    const event = JSON.parse(line)
    const isWhole = [event.level, event.time, event.pid, event.msg].every((each) => each !== undefined)
    if (!isWhole || line.length > 10_000) t.fail(`no event: ${line}`)
  }
  const secrets = [
    ...tokens.flatMap((token) => token.split('.').slice(1)),
    login.password,
    wrong,
    'token for the metrics'
  ]
  for (const secret of secrets) t.notOk(secret === '' || stdout.includes(secret), 'a secret is not in the log')
  t.notMatch(stdout, /Bearer |__Host-/)
  t.match(
    keyturn.lines().find(({ reqId }) => reqId === id),
    { msg: 'request', method: 'GET', route: '/api/sessions', status: 200, ms: Number }
  )
  const events = new Set(keyturn.lines().map(({ msg }) => String(msg).replace(/^Keyturn listens.*/, 'Keyturn listens')))
  for (const event of [
    ...['Keyturn listens', 'Keyturn reloading', 'Keyturn reloaded', 'Keyturn stopping', 'Keyturn stopped'],
    ...['worker starting', 'worker ready', 'worker draining', 'worker exited', 'hasher starting', 'hasher ready']
  ])
    t.ok(events.has(event), event)
})

t.test('nobody reads what it says', async (t) => {
  const keyturn = await startArbiter(t)
  keyturn.child.stdout?.destroy()
  keyturn.child.stderr?.destroy()
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 } as const
  const traffic = startTraffic(keyturn.url, [call])
  await until(() => traffic.report().answered.fresh > 10, 20)
  const readyCount = async (): Promise<number> =>
    Number(
      /^keyturn_processes\{kind="workers",state="ready"\} (\d+)$/m.exec(await scrape(keyturn).catch(() => ''))?.[1]
    )
  const victim = keyturn.kill('worker', 'SIGKILL')
  await until(() => !isAlive(victim), 5)
  await until(async () => (await readyCount()) === 2, 30)
  keyturn.child.kill('SIGHUP')
  const before = traffic.report().answered.fresh
  await until(() => traffic.report().answered.fresh > before + 30, 30)
  await traffic.stop()
  t.equal(await readyCount(), 2)
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    keyturn.child.on('exit', (...how) => resolve(how))
    keyturn.child.kill('SIGTERM')
  })
  t.strictSame([code, signal], [0, null])
})

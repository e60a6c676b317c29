/* The service seen from outside: its log, its metrics, and what happens when its output is not read. */
import t, { type Test } from 'tap'
import { isAlive, logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { post } from '../support/keyturn.ts'
import { startTraffic } from '../support/traffic.ts'

t.setTimeout(900_000)

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
      // A scrape fails when its worker dies.
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

t.test('metrics: they cover all workers, through reloads and deaths', async (t) => {
  const keyturn = await startArbiter(t)
  await logIn(keyturn)
  const verified = 'keyturn_verifications_total{result="token_invalid"}'
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 } as const
  const stop = watchCounters(t, keyturn)
  const traffic = startTraffic(keyturn.url, [call], { kept: 3, fresh: 3 })
  await until(() => traffic.report().answered.fresh > 30)
  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloaded', 0)
  await until(() => keyturn.lives('worker').filter(({ exitedAt }) => exitedAt !== undefined).length === 2)
  const { answered, failures } = await traffic.stop()
  await stop()
  const counters = countersOf(await scrape(keyturn))
  t.strictSame(failures, [])
  t.equal(counters.get(verified), answered.kept + answered.fresh, 'requests to old workers are counted too')
  t.match(await scrape(keyturn), 'keyturn_processes{kind="workers",state="ready"} 2')
  t.match(await scrape(keyturn), 'keyturn_processes{kind="hashers",state="ready"} 1')

  const again = watchCounters(t, keyturn)
  const more = startTraffic(keyturn.url, [call], { kept: 0, fresh: 3 })
  await until(() => more.report().answered.fresh > 30)
  await scrape(keyturn)
  const victim = keyturn.kill('worker', 'SIGKILL')
  await until(() => keyturn.ready('worker').length === 2 && !keyturn.ready('worker').includes(victim))
  await more.stop()
  await again()
  const total = countersOf(await scrape(keyturn)).get(verified)
  t.ok(Number(total) > answered.kept + answered.fresh, 'the last counts of the dead worker stay')
  t.equal(await keyturn.stop(), 0)
})

t.test('log: one JSON line per event, without secrets', async (t) => {
  const keyturn = await startArbiter(t, { METRICS_TOKEN: 'a token for the metrics', LOG_LEVEL: 'trace' })
  const { access, refresh } = await logIn(keyturn)
  const endpoints = `${keyturn.url}/api/token`
  const wrong = 'a password that is not the right one'
  const pair = (await post(`${endpoints}/refresh/`, { refresh })).body
  const tokens = [access, refresh, pair.access ?? '', pair.refresh ?? '']
  for (const token of tokens) await post(`${endpoints}/verify/`, { token })
  await post(`${endpoints}/`, { username: login.username, password: wrong })
  await post(`${endpoints}/refresh/`, { refresh: `${refresh}x` })
  await post(`${endpoints}/verify/`, { token: access, password: wrong })
  const authorization = `Bearer ${access}`
  const id = 'an-id-of-this-test-0001'
  const sessions = await fetch(`${keyturn.url}/api/sessions/?token=${access}`, {
    headers: { authorization, cookie: `__Host-refresh=${refresh}`, 'x-request-id': id }
  })
  t.equal(sessions.headers.get('x-request-id'), id)
  await fetch(`${keyturn.url}/metrics`, { headers: { authorization: 'Bearer a token for the metrics' } })
  await post(`${endpoints}/blacklist/`, { refresh: pair.refresh ?? '' })
  await until(() => keyturn.lines().some(({ event }) => event === 'logout'))
  const victim = keyturn.kill('worker', 'SIGKILL')
  await until(() => keyturn.ready('worker').length === 2 && !keyturn.ready('worker').includes(victim))
  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloaded')
  t.equal(await keyturn.stop(), 0)

  const { stdout, stderr } = keyturn.output()
  t.equal(stderr, '')
  for (const line of stdout.trimEnd().split('\n')) {
    const event = JSON.parse(line)
    const isWhole = [event.level, event.time, event.pid, event.msg].every((each) => each !== undefined)
    if (!isWhole || line.length > 10_000) t.fail(`not an event: ${line}`)
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

t.test('log: a closed output ends nothing', async (t) => {
  const keyturn = await startArbiter(t)
  keyturn.child.stdout?.destroy()
  keyturn.child.stderr?.destroy()
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 } as const
  const traffic = startTraffic(keyturn.url, [call])
  await until(() => traffic.report().answered.fresh > 10)
  const readyCount = async (): Promise<number> =>
    Number(
      /^keyturn_processes\{kind="workers",state="ready"\} (\d+)$/m.exec(await scrape(keyturn).catch(() => ''))?.[1]
    )
  const victim = keyturn.kill('worker', 'SIGKILL')
  await until(() => !isAlive(victim))
  await until(async () => (await readyCount()) === 2)
  keyturn.child.kill('SIGHUP')
  const before = traffic.report().answered.fresh
  await until(() => traffic.report().answered.fresh > before + 30)
  await traffic.stop()
  t.equal(await readyCount(), 2)
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    keyturn.child.on('exit', (...how) => resolve(how))
    keyturn.child.kill('SIGTERM')
  })
  t.strictSame([code, signal], [0, null])
})

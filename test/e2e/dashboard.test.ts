/*
 * The dashboard's queries on a real Prometheus that scrapes two workers under mixed load: none is empty.
 * The suite takes 30 seconds of it; KEYTURN_DASHBOARD=300 takes five minutes, and prints what each query returned.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { gather, send } from '../faults/crowd.ts'
import { login, logIn, startArbiter } from '../support/arbiter.ts'
import { basic } from '../support/client.ts'
import { readEvents } from '../support/events.ts'
import { runKeyturn } from '../support/keyturn.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutProgram, withoutRedis } from '../support/needs.ts'
import { type Series, startPrometheus } from '../support/prometheus.ts'

const seconds = Number(process.env.KEYTURN_DASHBOARD ?? 30)

/** Between two scrapes, in seconds. Grafana's $__rate_interval is four of them. */
const interval = 1
const rateInterval = 4 * interval

interface Panel {
  readonly title: string
  readonly targets?: readonly { readonly expr: string }[]
}

const { panels }: { readonly panels: readonly Panel[] } = JSON.parse(
  readFileSync(new URL('../../../deploy/grafana/keyturn.json', import.meta.url), 'utf8')
)
const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })))

/** Only a fault has these; the dashboard shows 0 without one. */
const isOfFault = (expr: string): boolean => /result="failed"|circuits_open|stream_lag/.test(expr)

/** How many of the scrapes have a value, and the highest. */
function describe(series: readonly Series[], from: number, to: number) {
  const points = series.flatMap(({ points }) => points.filter(([, value]) => !Number.isNaN(value)))
  const times = new Set(points.map(([at]) => at))
  const steps = Math.floor((to - from) / (interval * 1000)) + 1
  return { series: series.length, coverage: times.size / steps, highest: Math.max(...points.map(([, value]) => value)) }
}

/** Calls each of `acts` again and again, with a pause, until the function returned is called. */
function keepUp(acts: readonly (() => Promise<unknown>)[]): () => Promise<unknown> {
  let isOver = false
  const loops = acts.map(async (act) => {
    while (!isOver) {
      await act()
      await delay(20)
    }
  })
  return () => {
    isOver = true
    return Promise.all(loops)
  }
}

t.test(
  'every query of the dashboard has values under mixed load',
  {
    skip: withoutRedis() || withoutPostgres() || withoutProgram('prometheus'),
    timeout: (seconds + 300) * 1000
  },
  async (t) => {
    const token = 'a token of tests'
    const settings = {
      REDIS_URL: (await needsRedis(t, { tcp: true })).url,
      DATABASE_URL: (await needsPostgres(t, { tcp: true })).url,
      KEY_ENCRYPTION_SECRET: 'a secret of tests that is long enough to seal keys',
      METRICS_TOKEN: token
    }
    t.equal((await runKeyturn(['migrate'], settings)).code, 0)
    const keyturn = await startArbiter(t, { ...settings, HASHERS: '1', LOGIN_BACKOFF: 'off', REFRESH_REUSE_GRACE: '0' })
    const { url } = keyturn
    const { access } = await logIn(keyturn)
    const client = await runKeyturn(
      ['clients', 'create', 'orders', '--scopes', 'keyturn.revocations'],
      keyturn.settings
    )

    const thief = async (): Promise<void> => {
      const victim = await gather(url, login, 1)
      for (let each = 0; each < 2; each++) await victim.refreshUntilServed(url)
      await send(`${url}/api/token/refresh/`, { refresh: victim.members[0]?.superseded[0] ?? '' })
      victim.close()
    }
    const session = async (): Promise<void> => {
      const user = await gather(url, login, 1)
      await user.refreshUntilServed(url)
      await send(`${url}/api/token/blacklist/`, { refresh: user.members[0]?.refresh ?? '' })
      user.close()
    }
    const stop = keepUp([
      session,
      session,
      thief,
      () => send(`${url}/api/token/`, { ...login, password: 'a wrong one' }),
      () => send(`${url}/api/token/verify/`, { token: access }),
      () => send(`${url}/api/token/verify/`, { token: 'none' }),
      () => fetch(`${url}/.well-known/jwks.json`).then((answer) => answer.arrayBuffer())
    ])
    t.teardown(stop)
    const authorization = basic('orders', client.stdout.trim())
    for (let isOpen = false; !isOpen; ) {
      const reader = await readEvents(t, `${url}/api/revocations/`, { authorization })
      isOpen = reader.status === 200
      // A worker reads the clients once a second: until then it does not know the new one.
      if (!isOpen) await delay(250)
    }

    const prometheus = await startPrometheus(t, { targets: [new URL(url).host], token, interval })
    const began = Date.now()
    await delay(seconds * 1000)
    const ended = Date.now()
    await stop()

    // Before, there was no rate.
    const from = began + (rateInterval + 2 * interval) * 1000
    t.ok(queries.length > 15)
    for (const { title, expr } of queries) {
      const asked = expr.replaceAll('$__rate_interval', `${rateInterval}s`)
      const found = describe(await prometheus.range(asked, from, ended, interval), from, ended)
      const { series, coverage, highest } = found
      t.comment(`${title}: ${series} series, ${Math.round(coverage * 100)} % of the time, at most ${highest}; ${expr}`)
      t.ok(coverage > 0.5, `${title}: has values most of the time: ${expr}`)
      if (!isOfFault(expr)) t.ok(highest > 0, `${title}: has a value above zero: ${expr}`)
    }
    const alerts = (await prometheus.firing()).map(({ alertname }) => alertname)
    // The stolen tokens are an attack, after two minutes.
    t.same(
      alerts.filter((alert) => alert !== 'KeyturnReuseRising'),
      [],
      'no other alert fires'
    )
  }
)

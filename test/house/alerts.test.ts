/* The alert rules: promtool accepts them, their tests pass, and every metric and run book that they name exists. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { HashQueue } from '../../src/cluster/hash-queue.ts'
import { Scraper } from '../../src/cluster/metrics.ts'
import type { Metrics, Order } from '../../src/cluster/messages.ts'
import { openApp } from '../support/app.ts'
import { findEngines } from '../support/engines.ts'
import { withoutProgram } from '../support/needs.ts'

const pathOf = (file: string): string => fileURLToPath(new URL(`../../../${file}`, import.meta.url))
const read = (file: string): string => readFileSync(pathOf(file), 'utf8')
const folder = 'deploy/prometheus/'

interface Rule {
  readonly alert?: string
  readonly expr: string
  readonly annotations?: { readonly runbook: string; readonly description: string }
}

const rules: readonly Rule[] = parse(read(`${folder}keyturn.rules.yaml`)).groups[0].rules

/** Names of metrics in `text`, without the suffixes of a histogram. */
const namesIn = (text: string): ReadonlySet<string> =>
  new Set(
    (text.match(/\b(keyturn|http_server)_[a-z_]+[a-z]\b/g) ?? []).map((name) =>
      name.replace(/_(bucket|count|sum)$/, '')
    )
  )

/** The text of an alert's section on one line, without its severity and links. */
const sectionOf = (runBook: string, alert: string): string =>
  (new RegExp(`\n### ${alert}\n\n(?:Page|Ticket)\\. (.*?)\n\n#`, 's').exec(runBook)?.[1] ?? '')
    .replace(/\[([^\]]+)\]\([^)]+\)/g, '$1')
    .replaceAll('\n', ' ')

/** A scrape of one worker by way of the arbiter. */
async function scrape(metrics: Metrics): Promise<string> {
  return await new Promise((resolve) => {
    const worker = {
      pid: 0,
      send(order: Order) {
        if (order.type === 'measure') scraper.receive(worker, { type: 'measured', metrics })
        if (order.type === 'scraped') resolve(order.text)
      }
    }
    const none = { ready: [], count: 0, missing: 0, deaths: 0 }
    const pools = { workers: { ...none, ready: [worker], count: 1 }, hashers: none }
    const scraper = new Scraper(pools, new HashQueue(1))
    scraper.receive(worker, { type: 'scrape' })
  })
}

t.test(
  'alerts: promtool accepts the rules, and each fault fires its alert and no other',
  {
    skip: withoutProgram('prometheus')
  },
  async (t) => {
    const promtool = findEngines().prometheus?.promtool ?? 'promtool'
    const run = (...args: string[]) => promisify(execFile)(promtool, args, { cwd: pathOf(folder) })
    await run('check', 'rules', 'keyturn.rules.yaml')
    t.match((await run('test', 'rules', 'keyturn.rules.test.yaml')).stdout, 'SUCCESS')
  }
)

t.test('alerts: each has a section in the run book and a test', async (t) => {
  const [runBook, tests] = [read('docs/operations.md'), read(`${folder}keyturn.rules.test.yaml`)]
  const alerts = rules.filter(({ alert }) => alert !== undefined)
  t.ok(alerts.length > 8)
  for (const { alert = '', annotations } of alerts) {
    t.equal(annotations?.runbook, `docs/operations.md#${alert.toLowerCase()}`)
    t.equal(annotations?.description, sectionOf(runBook, alert), 'the description is the section')
    t.match(tests, `alertname="${alert}"`)
  }
})

t.test('alerts: every metric that the rules, the dashboard and the run book name is in a scrape', async (t) => {
  const { app, logIn } = await openApp(t)
  await logIn()
  const present = await scrape(await (await app.metrics()).getMetricsAsJSON())
  const named = namesIn(rules.map(({ expr }) => expr).join('\n'))
  t.ok(named.size > 8)
  for (const name of [
    ...named,
    ...namesIn(read('deploy/grafana/keyturn.json')),
    ...namesIn(read('docs/operations.md'))
  ])
    if (name !== 'keyturn_sessions') t.match(present, `# TYPE ${name} `, name)
})

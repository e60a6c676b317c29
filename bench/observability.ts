/*
 * What metrics and traces cost: `npm run build && node dist/bench/observability.js [verify] [refresh] [login] [own] [start]`.
 *
 * A service with switches (bench/switched-service.ts) serves slices of SLICE (0.5) seconds, in ROUNDS (60) pairs, on and off in turn:
 *   control        nothing is switched: what its ratio differs from 1 by is what this benchmark cannot see
 *   metrics        metrics on and off; traces are not loaded
 *   0 %, 1 %, 100 %  traces on and off, at that share of sampled traces (OTEL_TRACES_SAMPLER=traceidratio); metrics on
 * Off, a switch leaves one call of a function that returns. A figure is CPU µs a request, user and system, of the process: the median
 * of the slices. A ratio is the median of the ratios of the pairs, with its 95 % confidence interval. The collector is in this
 * process; it reads everything and answers 200.
 *
 * `own` is what a metric of a request and a span that is not recorded take when nothing else runs: the least that they can cost.
 *
 * `start`: what a scrape costs, and a cold start with all processes (bench/boot.ts) without metrics, as it is, and with traces.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { requestBounds, Timings } from '../src/timings.ts'
import { SdkTracing } from '../src/tracing/sdk.ts'
import { readTraceparent } from '../src/tracing/traceparent.ts'
import { openScope, type Scope } from '../test/faults/worlds.ts'
import { serveCommand } from '../test/support/keyturn.ts'
import { measureStart } from './boot.ts'
import { cpuOf, figure, quantile, type Side } from './measure.ts'
import { allLogins, chain, verifications } from './scenarios.ts'
import { type Command, openKeyturn, openSide, openStage, refreshBodies, type Service, type Stage } from './sides.ts'
import type { Load } from './client.ts'
import type { Switches } from './switches.ts'

const rounds = Number(process.env.ROUNDS ?? 60)
const slice = Number(process.env.SLICE ?? 0.5)

/** Requests before the first pair, in seconds. */
const warmUp = 4

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A copy of the compiled service, in which a plugin may be replaced. */
function copyService(scope: Scope): string {
  const copy = mkdtempSync(join(root, 'dist/copy-'))
  scope.teardown(() => rmSync(copy, { recursive: true, force: true }))
  for (const each of ['package.json', 'src', 'dist/src', 'dist/plugins', 'dist/routes'])
    cpSync(join(root, each), join(copy, each), { recursive: true })
  return copy
}

const benchFile = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

function copyWithSwitches(scope: Scope): string {
  const copy = copyService(scope)
  const switches = { metrics: 'metrics', tracing: 'traces' }
  for (const [plugin, name] of Object.entries(switches)) {
    const file = join(copy, 'dist/plugins', plugin)
    renameSync(`${file}.js`, `${file}-original.js`)
    writeFileSync(
      `${file}.js`,
      `import { switched } from ${JSON.stringify(benchFile('./switches.js'))}
       import plugin from './${plugin}-original.js'
       export default switched(plugin, '${name}')`
    )
  }
  return copy
}

function copyWithoutMetrics(scope: Scope): string {
  const copy = copyService(scope)
  cpSync(benchFile('./no-metrics.js'), join(copy, 'dist/plugins/metrics.js'))
  return copy
}

/** Answers every request with 200; its URL. */
async function openCollector(scope: Scope): Promise<string> {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => response.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  scope.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** What is compared: the switches of the slices that are on and off, and the share of sampled traces. */
interface Comparison {
  readonly on: Switches
  readonly off: Switches
  readonly share?: string
}

const allOn = { metrics: true, traces: true }
const tracesOff = { metrics: true, traces: false }
const comparisons: Readonly<Record<string, Comparison>> = {
  control: { on: allOn, off: allOn },
  metrics: { on: allOn, off: { metrics: false, traces: true } },
  '0 %': { on: allOn, off: tracesOff, share: '0' },
  '1 %': { on: allOn, off: tracesOff, share: '0.01' },
  '100 %': { on: allOn, off: tracesOff, share: '1' }
}

const tracesOf = (collector: string, share: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector,
  OTEL_TRACES_SAMPLER: 'traceidratio',
  OTEL_TRACES_SAMPLER_ARG: share
})

interface SwitchedService extends Service {
  /** The CPU µs that the process has used so far. */
  turn(switches: Switches): Promise<number>
}

async function openSwitched(scope: Scope, folder: string, env: Record<string, string>): Promise<SwitchedService> {
  const child = fork(benchFile('./switched-service.js'), [folder], { env })
  scope.teardown(() => child.kill('SIGKILL'))
  const failed = once(child, 'exit').then(() => Promise.reject(new Error('the service has ended')))
  failed.catch(() => {})
  const answer = async (): Promise<number> => (await Promise.race([once(child, 'message'), failed]))[0]
  const port = await answer()
  return {
    pid: child.pid ?? 0,
    port,
    turn(switches) {
      child.send(switches)
      return answer()
    }
  }
}

interface Pair {
  readonly on: number
  readonly off: number
}

/** CPU µs a request of each slice. */
async function measure({ turn }: SwitchedService, { ask }: Side, { on, off }: Comparison): Promise<readonly Pair[]> {
  const sample = async (switches: Switches): Promise<number> => {
    const before = await turn(switches)
    const { requests } = await ask({ seconds: slice })
    return ((await turn(switches)) - before) / requests
  }
  for (const switches of [on, off]) {
    await turn(switches)
    await ask({ seconds: warmUp / 2 })
  }
  const pairs: Pair[] = []
  while (pairs.length < rounds) {
    const isOnFirst = pairs.length % 2 === 0
    const [first, second] = [await sample(isOnFirst ? on : off), await sample(isOnFirst ? off : on)]
    pairs.push(isOnFirst ? { on: first, off: second } : { on: second, off: first })
  }
  return pairs
}

const scenarios: Readonly<Record<string, (stage: Stage, keyturn: Service) => Promise<Load>>> = {
  verify: async (stage) => verifications('/api/token/verify/', stage.mintAccess(500)),
  refresh: async (stage, keyturn) => chain(await refreshBodies(stage, keyturn)),
  login: async (stage) => allLogins(stage)
}

/** The part of the values by which the 95 % confidence interval of their median ends on each side of it: the sign test. */
const halfInterval = (count: number): number => 0.98 / Math.sqrt(count)

function row(scenario: string, name: string, pairs: readonly Pair[]): string {
  const [on, off] = [figure(pairs.map((pair) => pair.on)).median, figure(pairs.map((pair) => pair.off)).median]
  const ratios = pairs.map((pair) => pair.on / pair.off)
  const half = halfInterval(ratios.length)
  const [low, middle, high] = [0.5 - half, 0.5, 0.5 + half].map((part) => quantile(ratios, part).toFixed(3))
  const cells = [off, on].map((value) => value.toFixed(value < 1000 ? 1 : 0).padStart(8))
  return [scenario.padEnd(8), name.padEnd(8), ...cells, ` ${middle} (${low}..${high})`].join('  ')
}

async function run(): Promise<void> {
  const scope = openScope()
  try {
    const stage = await openStage(scope)
    const collector = await openCollector(scope)
    const chosen = Object.entries(scenarios).filter(([name]) => isChosen(name))
    if (chosen.length > 0) {
      console.log('CPU µs a request        off        on   ratio (95 %)')
      await compareAll(scope, stage, collector, chosen)
    }
    if (!isChosen('start')) return
    await showScrape(await openKeyturn(scope, stage, { METRICS_TOKEN: 'bench' }))
    await showStarts(stage, copyWithoutMetrics(scope), tracesOf(collector, '0.01'))
  } finally {
    await scope.close()
  }
}

async function compareAll(
  scope: Scope,
  stage: Stage,
  collector: string,
  chosen: readonly [string, (stage: Stage, keyturn: Service) => Promise<Load>][]
): Promise<void> {
  const folder = copyWithSwitches(scope)
  for (const [name, comparison] of Object.entries(comparisons)) {
    const { share } = comparison
    const env = { ...stage.settings, ...(share !== undefined && tracesOf(collector, share)) }
    const service = await openSwitched(scope, folder, env)
    for (const [scenario, load] of chosen) {
      const side = await openSide(scope, service, await load(stage, service))
      console.log(row(scenario, name, await measure(service, side, comparison)))
    }
  }
}

const route = '/api/token/verify/'

/** CPU µs of one call, the least of some lots of so many: the others were compiled or disturbed. */
async function least(count: number, call: () => void): Promise<string> {
  const lots: number[] = []
  while (lots.length < 6) {
    const before = process.cpuUsage()
    for (let each = 0; each < count; each++) call()
    const { user, system } = process.cpuUsage(before)
    lots.push((user + system) / count)
    // What the spans leave behind is not counted.
    await nextTurn()
  }
  return `${Math.min(...lots).toFixed(2)} µs`
}

async function showOwn(): Promise<void> {
  const timings = new Timings({ name: 'own', help: '', labels: ['route', 'method', 'class'], bounds: requestBounds })
  console.log(`\na metric of a request: ${await least(1e6, () => timings.add(0.0003, route, 'POST', '2xx'))}`)
  Object.assign(process.env, { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' })
  const tracing = new SdkTracing({ info: () => {}, warn: () => {} })
  const begin = (): void => {
    tracing.begin({ method: 'POST', route, parent: readTraceparent({}) }, () => {})
  }
  console.log(`a span that is not recorded: ${await least(1e5, begin)}`)
  await tracing.close()
}

/** How many starts of each are measured. */
const starts = 15

/** How many scrapes are measured: one takes some milliseconds, and Linux counts hundredths of seconds. */
const scrapes = 200

async function showScrape({ pid, port }: Service): Promise<void> {
  const scrape = async (): Promise<void> => {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { authorization: 'Bearer bench' } })
    if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`)
    await answer.arrayBuffer()
  }
  await scrape()
  const before = cpuOf(pid)
  for (let each = 0; each < scrapes; each++) await scrape()
  const ms = ((cpuOf(pid) - before) * 1000) / scrapes
  console.log(`\na scrape: ${ms.toFixed(1)} ms of CPU; one every 15 s is ${(ms / 150).toFixed(2)} % of a core`)
}

async function showStarts({ settings }: Stage, folderWithout: string, traces: Record<string, string>): Promise<void> {
  const without: Command = [process.execPath, join(folderWithout, 'dist/src/cli/main.js'), 'serve']
  const compared = [
    { name: 'without', command: without, env: {} },
    { name: 'metrics', command: serveCommand, env: {} },
    { name: '1 %', command: serveCommand, env: traces }
  ]
  const figures = new Map(compared.map(({ name }) => [name, [] as { readyMs: number; cpuMs: number }[]]))
  for (let round = 0; round <= starts; round++)
    for (const { name, command, env } of compared) {
      const start = await measureStart({ name, command, env: { ...settings, LOG_LEVEL: 'info', PORT: '0', ...env } })
      // The first round fills the caches of the file system.
      if (round > 0) figures.get(name)?.push(start)
    }
  console.log('\nstart     ready ms  (least)  CPU ms')
  for (const [name, samples] of figures) {
    const [ready, cpu] = [figure(samples.map(({ readyMs }) => readyMs)), figure(samples.map(({ cpuMs }) => cpuMs))]
    const cells = [
      ready.median.toFixed(0).padStart(8),
      `(${ready.least.toFixed(0)})`.padStart(7),
      cpu.median.toFixed(0).padStart(6)
    ]
    console.log([name.padEnd(8), ...cells].join('  '))
  }
}

const named = process.argv.slice(2)
const unknown = named.filter((name) => !['own', 'start'].includes(name) && !(name in scenarios))
if (unknown.length > 0) {
  console.error(
    `Unknown measurement ${unknown.join(', ')}; expected ${Object.keys(scenarios).join(', ')}, own or start.`
  )
  process.exit(2)
}
const isChosen = (name: string): boolean => named.length === 0 || named.includes(name)

const load = (): string => (loadavg()[0] ?? 0).toFixed(1)
console.log(`ROUNDS=${rounds} SLICE=${slice} node dist/bench/observability.js ${named.join(' ')}`)
console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}, load ${load()} at the start\n`)
if (named.join() !== 'own') await run()
if (isChosen('own')) await showOwn()
console.log(`\nload ${load()} at the end`)

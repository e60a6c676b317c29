/*
 * What metrics and traces cost: `npm run build && node dist/bench/observability.js [verify] [refresh] [login] [own] [start]`.
 *
 * One process runs six copies of the service on the same stores (bench/variants.ts), which are measured in turn in each of ROUNDS
 * (15) rounds of SECONDS (2):
 *   metrics    the service as it is: metrics on, traces off
 *   control    the same once more: what its ratio differs from 1 by is what this benchmark cannot see
 *   without    its plugins/metrics.js counts nothing, and its src/timings.js measures nothing
 *   0 %        with OTEL_TRACES_SAMPLER=traceidratio and the argument 0: a span is begun for each request, and none is recorded
 *   1 %, 100 % with the arguments 0.01 and 1
 * A figure is the median of the rounds: CPU µs a request, user and system, of the process. A ratio is the median of the ratios of
 * the rounds, with the lower and the upper quartile: metrics by without, all others by metrics. The collector is in this process;
 * it reads everything and answers 200. The order of the variants changes from round to round.
 *
 * `own` is what a metric of a request and a span that is not recorded take when nothing else runs: the least that they can cost.
 *
 * After that: what a scrape costs, and a cold start of three of the copies with all their processes (bench/boot.ts).
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
import { measureStart } from './boot.ts'
import { cpuOf, figure, quantile, type Side } from './measure.ts'
import { allLogins, chain, verifications } from './scenarios.ts'
import { type Command, openSide, openStage, refreshBodies, type Service, type Stage } from './sides.ts'
import type { Load } from './client.ts'
import type { Variant } from './variants.ts'

const rounds = Number(process.env.ROUNDS ?? 15)
const seconds = Number(process.env.SECONDS ?? 2)

/** Requests before the first round, in seconds. */
const warmUp = 4

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A copy of the compiled service: what Node compiles and optimises of one is not shared with another. */
function copyService(scope: Scope): string {
  const copy = mkdtempSync(join(root, 'dist/copy-'))
  scope.teardown(() => rmSync(copy, { recursive: true, force: true }))
  for (const each of ['package.json', 'src', 'dist/src', 'dist/plugins', 'dist/routes'])
    cpSync(join(root, each), join(copy, each), { recursive: true })
  return copy
}

function copyWithoutMetrics(scope: Scope): string {
  const copy = copyService(scope)
  cpSync(join(root, 'dist/bench/no-metrics.js'), join(copy, 'dist/plugins/metrics.js'))
  renameSync(join(copy, 'dist/src/timings.js'), join(copy, 'dist/src/timings-original.js'))
  writeFileSync(
    join(copy, 'dist/src/timings.js'),
    `export * from './timings-original.js'
     import { Timings as Original } from './timings-original.js'
     export class Timings extends Original { add() {} }`
  )
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

const names = ['metrics', 'control', 'without', '0 %', '1 %', '100 %'] as const
type Name = (typeof names)[number]

function variantsOf(scope: Scope, collector: string): Readonly<Record<Name, Variant>> {
  const traced = (share: string): Variant => ({
    folder: copyService(scope),
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector,
      OTEL_TRACES_SAMPLER: 'traceidratio',
      OTEL_TRACES_SAMPLER_ARG: share
    }
  })
  return {
    metrics: { folder: copyService(scope), env: {} },
    control: { folder: copyService(scope), env: {} },
    without: { folder: copyWithoutMetrics(scope), env: {} },
    '0 %': traced('0'),
    '1 %': traced('0.01'),
    '100 %': traced('1')
  }
}

/** The variants in one process, which ends with `scope`. */
async function openVariants(
  scope: Scope,
  { settings }: Stage,
  variants: Readonly<Record<Name, Variant>>
): Promise<Readonly<Record<Name, Service>>> {
  const file = fileURLToPath(new URL('./variants.js', import.meta.url))
  const child = fork(file, { env: { ...settings, METRICS_TOKEN: 'bench' } })
  scope.teardown(() => child.kill('SIGKILL'))
  child.send(names.map((name) => variants[name]))
  const failed = once(child, 'exit').then(() => Promise.reject(new Error('the process of the variants has ended')))
  const [ports] = (await Promise.race([once(child, 'message'), failed])) as [readonly number[]]
  failed.catch(() => {})
  const services = names.map((name, at) => [name, { pid: child.pid ?? 0, port: ports[at] ?? 0 }])
  return Object.fromEntries(services)
}

/** CPU µs a request. */
async function sample({ pid, ask }: Side): Promise<number> {
  const before = cpuOf(pid)
  const { requests } = await ask({ seconds })
  return ((cpuOf(pid) - before) * 1e6) / requests
}

type Samples = Readonly<Record<Name, number>>

async function measure(sides: Readonly<Record<Name, Side>>): Promise<readonly Samples[]> {
  for (const name of names) await sides[name].ask({ seconds: warmUp })
  const samples: Samples[] = []
  while (samples.length < rounds) {
    const order = names.map((_, at) => names[(at + samples.length) % names.length] as Name)
    const round: Partial<Record<Name, number>> = {}
    for (const name of order) round[name] = await sample(sides[name])
    samples.push(round as Samples)
  }
  return samples
}

const scenarios: Readonly<Record<string, (stage: Stage, keyturn: Service) => Promise<Load>>> = {
  verify: async (stage) => verifications('/api/token/verify/', stage.mintAccess(500)),
  refresh: async (stage, keyturn) => chain(await refreshBodies(stage, keyturn)),
  login: async (stage) => allLogins(stage)
}

/** What the ratio of a variant is taken by. */
const base = (name: Name): Name => (name === 'metrics' ? 'without' : 'metrics')

/** The medians, and the ratios with their quartiles. */
function row(scenario: string, samples: readonly Samples[]): string {
  const cells = names.map((name) => {
    const { median } = figure(samples.map((round) => round[name]))
    const shown = median.toFixed(median < 1000 ? 1 : 0).padStart(8)
    if (name === 'without') return shown
    const ratios = samples.map((round) => round[name] / round[base(name)])
    const [low, middle, high] = [0.25, 0.5, 0.75].map((part) => quantile(ratios, part).toFixed(3))
    return `${shown}  ${middle} (${low}..${high})`
  })
  return [scenario.padEnd(8), ...cells].join('  ')
}

async function run(): Promise<void> {
  const scope = openScope()
  try {
    const stage = await openStage(scope)
    const variants = variantsOf(scope, await openCollector(scope))
    const services = await openVariants(scope, stage, variants)
    const open = async (load: (keyturn: Service) => Promise<Load>): Promise<Record<Name, Side>> => {
      const sides: Partial<Record<Name, Side>> = {}
      for (const name of names) sides[name] = await openSide(scope, services[name], await load(services[name]))
      return sides as Record<Name, Side>
    }
    const heads = names.map((name) =>
      name === 'without' ? name.padStart(8) : `${name.padStart(8)}  ratio (quartiles)   `
    )
    console.log(['CPU µs  ', ...heads].join('  '))
    for (const [name, load] of Object.entries(scenarios)) {
      if (isChosen(name)) console.log(row(name, await measure(await open((keyturn) => load(stage, keyturn)))))
    }
    if (!isChosen('start')) return
    await showScrape(services.metrics)
    await showStarts(stage, variants)
  } finally {
    await scope.close()
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
    tracing.within(tracing.begin({ method: 'POST', route, parent: readTraceparent({}) }), () => {})
  }
  console.log(`a span that is not recorded: ${await least(1e5, begin)}`)
  await tracing.close()
}

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

async function showStarts({ settings }: Stage, variants: Readonly<Record<Name, Variant>>): Promise<void> {
  const compared = (['without', 'metrics', '1 %'] as const).map((name) => {
    const { folder, env } = variants[name]
    const command: Command = [process.execPath, join(folder, 'dist/src/cli/main.js'), 'serve']
    return { name, command, env }
  })
  const starts = new Map(compared.map(({ name }) => [name, [] as { readyMs: number; cpuMs: number }[]]))
  for (let round = 0; round <= rounds; round++)
    for (const { name, command, env } of compared) {
      const start = await measureStart({ name, command, env: { ...settings, LOG_LEVEL: 'info', PORT: '0', ...env } })
      // The first round fills the caches of the file system.
      if (round > 0) starts.get(name)?.push(start)
    }
  console.log('\nstart     ready ms  (least)  CPU ms')
  for (const [name, samples] of starts) {
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
console.log(`ROUNDS=${rounds} SECONDS=${seconds} node dist/bench/observability.js ${named.join(' ')}`)
console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}, load ${load()} at the start\n`)
if (named.join() !== 'own') await run()
if (isChosen('own')) await showOwn()
console.log(`\nload ${load()} at the end`)

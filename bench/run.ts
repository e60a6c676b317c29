/*
 * How far each hot path is from its floor: `npm run bench`, or some rows of it: `npm run bench -- verify-cached refresh`.
 *
 * Both sides of a scenario (bench/scenarios.ts) run at once and are measured alternately: the floor, ours, the floor, ours … A
 * figure is the median of ROUNDS (5) rounds of SECONDS (3); a ratio is the median of the ratios of the rounds, with the lowest and
 * the highest. The most important column is CPU time per request, of all processes of the service: a busy machine changes it least.
 * CONNECTIONS (16) requests are under way at once, of logins four. SESSIONS (1,000,000) are alive in the scenario of that name. A
 * complete run writes its table into bench/results.md.
 *
 * PROFILE names a folder for CPU profiles of every measured process; a summary is printed below the row (bench/profile.ts), and
 * nothing is written, since all is slower then.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { openScope } from '../test/faults/worlds.ts'
import { footprints } from '../test/support/processes.ts'
import { compareStarts } from './boot.ts'
import { measureOpenLoops } from './open-loop.ts'
import { type Comparison, compare, type Figure, type Figures, type Side } from './measure.ts'
import { readProfiles, showProfiles } from './profile.ts'
import { type Pair, type Scenario, scenarios, type Target } from './scenarios.ts'
import { openStage, type Stage } from './sides.ts'

const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 3)

/* The table */

const isMet = (ratio: Figures, target: Target): boolean =>
  ratio.cpu.median <= (target.cpu ?? Infinity) &&
  ratio.p99.median <= (target.p99 ?? Infinity) &&
  ratio.rate.median >= (target.rate ?? 0)

const columns = ['CPU µs a request', 'requests a second', 'p99 in ms'] as const
const [nameWidth, columnWidth] = [15, 38]

const head = [
  [' '.repeat(nameWidth), ...columns.map((title) => `   ${title}`.padEnd(columnWidth))],
  [' '.repeat(nameWidth), ...columns.map(() => '   floor    ours  ratio (spread)'.padEnd(columnWidth))]
].map((cells) => cells.join('').trimEnd())

/** The floor's, ours, and the ratio. */
function cell({ floor, ours, ratio }: Record<keyof Comparison, Figure>): string {
  const shown = [floor, ours].map(({ median }) => median.toFixed(median < 1000 ? 1 : 0).padStart(8)).join('')
  const spread = `(${ratio.least.toFixed(2)}..${ratio.most.toFixed(2)})`
  return `${shown} ${ratio.median.toFixed(2).padStart(6)} ${spread}`.padEnd(columnWidth)
}

function row({ name, target }: Scenario, { floor, ours, ratio }: Comparison): string {
  const of = (key: keyof Figures): string => cell({ floor: floor[key], ours: ours[key], ratio: ratio[key] })
  const verdict = isMet(ratio, target) ? 'met' : 'missed'
  return `${name.padEnd(nameWidth)}${of('cpu')}${of('rate')}${of('p99')}${verdict}`
}

const targetText: Readonly<Record<keyof Target, string>> = {
  cpu: 'CPU at most',
  rate: 'requests a second at least',
  p99: 'p99 at most'
}

const describe = ({ name, ours, floor, target }: Scenario): string => {
  const wanted = Object.entries(target).map(
    ([key, value]) => `${targetText[key as keyof Target]} ${value.toFixed(2)} times`
  )
  return `${name.padEnd(nameWidth)}${ours}\n${' '.repeat(nameWidth)}floor: ${floor}; wanted: ${wanted.join(', ')}`
}

/* The run */

const named = process.argv.slice(2)
const known = [...scenarios.map(({ name }) => name), 'open-loop', 'boot']
const unknown = named.filter((name) => !known.includes(name))
if (unknown.length > 0) {
  console.error(`Unknown scenario ${unknown.join(', ')}; expected one of ${known.join(', ')}.`)
  process.exit(2)
}
const isChosen = (name: string): boolean => named.length === 0 || named.includes(name)
const chosen = scenarios.filter(({ name }) => isChosen(name))

const lines: string[] = []
const print = (text: string): void => {
  lines.push(text)
  console.log(text)
}

const profiles = process.env.PROFILE

/** A side that counts its requests, for its profile, which is written when all its processes have ended. */
function profiled(side: Side): Side & { read(folder: string): ReturnType<typeof readProfiles> } {
  let requests = 0
  let pids: readonly number[] = []
  return {
    pid: side.pid,
    async ask(order) {
      const round = await side.ask(order)
      requests += round.requests
      pids = footprints(side.pid).map(({ pid }) => pid)
      return round
    },
    read: (folder) => readProfiles(folder, pids, requests)
  }
}

async function runScenario(scenario: Scenario, stage: Stage): Promise<Pair['notes']> {
  const folder = profiles && join(profiles, scenario.name)
  if (folder) process.env.PROFILE = folder
  const scope = openScope()
  try {
    const { floor, ours, notes } = await scenario.open(scope, stage)
    const sides = { floor: profiled(floor), ours: profiled(ours) }
    print(row(scenario, await compare(sides.floor, sides.ours, rounds, seconds)))
    if (folder === undefined) return notes
    await scope.close()
    for (const line of showProfiles(sides.floor.read(folder), sides.ours.read(folder))) print(line)
    return notes
  } finally {
    await scope.close()
  }
}

async function runScenarios(): Promise<void> {
  const notes: string[] = []
  const stageScope = openScope()
  try {
    const stage = await openStage(stageScope)
    for (const line of head) print(line)
    for (const scenario of chosen) notes.push(...((await runScenario(scenario, stage)) ?? []))
    print('')
    for (const text of [...chosen.map(describe), ...notes]) print(text)
    if (!isChosen('open-loop')) return
    print('')
    for (const text of await measureOpenLoops(stage, rounds, seconds)) print(text)
  } finally {
    await stageScope.close()
  }
}

const command = ['npm run bench', ...(named.length > 0 ? ['--', ...named] : [])].join(' ')
const connections = process.env.CONNECTIONS === undefined ? '' : `CONNECTIONS=${process.env.CONNECTIONS} `
const knobs = `${connections}ROUNDS=${rounds} SECONDS=${seconds} SESSIONS=${process.env.SESSIONS ?? 1_000_000}`
print(`${knobs} ${command}, ${new Date().toISOString().slice(0, 10)}`)
print(
  `Node ${process.version}, OpenSSL ${process.versions.openssl}, ${cpus().length} cores, ${cpus()[0]?.model}, ` +
    `${(totalmem() / 2 ** 30).toFixed(0)} GiB, load ${loadavg()[0]?.toFixed(1)} at the start`
)
print('')
if (chosen.length > 0 || isChosen('open-loop')) await runScenarios()
if (isChosen('boot')) {
  print('')
  for (const line of await compareStarts(rounds)) print(line)
}

/** Between these two lines of bench/results.md is the last run. */
const [begin, end] = ['<!-- npm run bench -->', '<!-- the end of npm run bench -->']
if (named.length === 0 && profiles === undefined) {
  const file = fileURLToPath(new URL('../../bench/results.md', import.meta.url))
  const text = readFileSync(file, 'utf8')
  const [before, after] = [text.split(begin)[0], text.split(end)[1]]
  if (before === undefined || after === undefined) throw new Error(`${file} has lost the lines ${begin} and ${end}`)
  writeFileSync(file, `${before}${begin}\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n${end}${after}`)
}

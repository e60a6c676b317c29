/*
 * Keyturn beside other projects: `npm run bench:peers`, which installs the packages of bench/peers first. Every service runs at once,
 * with one worker, on the same Redis and PostgreSQL (a database each), with the same hundred users. What each peer is, and where its
 * configuration comes from, is at the head of its file.
 *
 * Like is compared with like as far as they are alike, and what a peer does more or less stands beside its row:
 * - login: user name and password. Every service verifies argon2id at the same cost, whatever its default is, since the row would
 *   compare those costs otherwise. What differs is the rest. node-oidc-provider has no such endpoint.
 * - refresh: a chain of refresh tokens, each that of the answer before; a hundred sessions in turn.
 * - verify: the question "is this good?" by the means that each service has, for the tokens of a hundred sessions in turn. Keyturn
 *   has seen the tokens before; no other service remembers any. Introspection is compared with verify, and shown for Keyturn too.
 * Rate limits and request logs are off on every side.
 *
 * Within an operation the services take turns: a round of SECONDS (3) of each, ROUNDS (4) times, after a warm-up. A figure is
 * the median of the rounds; a ratio is that to Keyturn's figure of the same round, so a busy machine is busy for all. CPU is of all
 * processes of a service, not of the stores. The table goes into bench/results.md unless WRITE=no.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { openScope, type Scope } from '../../test/faults/worlds.ts'
import { findEngines } from '../../test/support/engines.ts'
import { footprints } from '../../test/support/processes.ts'
import { figure } from '../measure.ts'
import { openStage } from '../sides.ts'
import type { ClientRound } from './client.ts'
import { type Operation, openServices, type PeerRow, versionsOfPython } from './services.ts'

const rounds = Number(process.env.ROUNDS ?? 4)
const seconds = Number(process.env.SECONDS ?? 3)
/** Before the first round: a function is compiled well once it has been called some thousand times. */
const warmUpSeconds = Math.min(3, seconds)

const file = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

/** How many times Keyturn's CPU time a peer takes: at least so much. */
const goals: readonly { readonly operation: Operation; readonly name: string; readonly times: number }[] = [
  { operation: 'verify', name: 'Simple JWT', times: 60 },
  { operation: 'verify', name: 'node-oidc-provider', times: 4 },
  { operation: 'refresh', name: 'Simple JWT', times: 30 },
  { operation: 'refresh', name: 'afternoon', times: 1 }
]

/* The measurement */

interface Sample {
  /** CPU microseconds a request. */
  readonly cpu: number
  /** Requests a second. */
  readonly rate: number
  readonly p50: number
  readonly p99: number
}

interface Measured {
  readonly row: PeerRow
  readonly samples: readonly Sample[]
}

type Ask = (seconds: number) => Promise<ClientRound>

async function openClient(scope: Scope, { plan }: PeerRow): Promise<Ask> {
  const client = fork(fileURLToPath(new URL('./client.js', import.meta.url)))
  scope.teardown(() => client.kill('SIGKILL'))
  client.send(plan)
  await once(client, 'message')
  return async (seconds) => {
    client.send(seconds)
    const [answer] = (await once(client, 'message')) as [ClientRound | { readonly failure: string }]
    if ('failure' in answer) throw new Error(answer.failure)
    return answer
  }
}

const cpuOf = (pid: number): number => footprints(pid).reduce((sum, { cpu }) => sum + cpu, 0)

async function sample(pid: number, ask: Ask): Promise<Sample> {
  const before = cpuOf(pid)
  const { requests, seconds: taken, p50, p99 } = await ask(seconds)
  return { cpu: ((cpuOf(pid) - before) * 1e6) / requests, rate: requests / taken, p50, p99 }
}

/** Round by round, the rows in turn. */
async function measure(rows: readonly PeerRow[]): Promise<readonly Measured[]> {
  const scope = openScope()
  try {
    const clients = await Promise.all(rows.map((row) => openClient(scope, row)))
    const sides = rows.map((row, index) => ({ row, ask: clients[index] as Ask, samples: [] as Sample[] }))
    for (const { ask } of sides) await ask(warmUpSeconds)
    for (let round = 0; round < rounds; round++)
      for (const { row, ask, samples } of sides) samples.push(await sample(row.pid, ask))
    return sides
  } finally {
    await scope.close()
  }
}

/* The table */

const lines: string[] = []
const print = (text: string): void => {
  lines.push(text)
  console.log(text)
}

const median = (samples: readonly Sample[], key: keyof Sample): number =>
  figure(samples.map((each) => each[key])).median

/** The median of the ratios of each round, with the least and the most. */
const ratioOf = (ours: readonly Sample[], theirs: readonly Sample[], key: 'cpu' | 'rate') =>
  figure(theirs.map((each, round) => each[key] / (ours[round] as Sample)[key]))

const width = 29
const head = [
  `${' '.repeat(width)}  CPU µs a request                requests a second              latency in ms`,
  `${' '.repeat(width)}          ratio (spread)                   ratio                 p50      p99`
]

const short = (number: number): string => number.toFixed(number < 100 ? (number < 10 ? 2 : 1) : 0)

function line({ row, samples }: Measured, ours: readonly Sample[]): string {
  const [cpu, rate] = [ratioOf(ours, samples, 'cpu'), ratioOf(ours, samples, 'rate')]
  const spread = `(${short(cpu.least)}..${short(cpu.most)})`
  return [
    `  ${row.name}`.padEnd(width),
    short(median(samples, 'cpu')).padStart(9),
    short(cpu.median).padStart(7),
    ` ${spread.padEnd(16)}`,
    short(median(samples, 'rate')).padStart(8),
    short(rate.median).padStart(8),
    short(median(samples, 'p50')).padStart(15),
    short(median(samples, 'p99')).padStart(9)
  ].join('')
}

const oursAmong = (measured: readonly Measured[]): readonly Sample[] =>
  measured.find(({ row }) => row.name === 'Keyturn')?.samples ?? []

function printGoals(operation: Operation, measured: readonly Measured[]): void {
  for (const { name, times } of goals.filter((goal) => goal.operation === operation)) {
    const theirs = measured.find(({ row }) => row.name === name)?.samples ?? []
    const { median } = ratioOf(oursAmong(measured), theirs, 'cpu')
    print(
      `  goal: ${name} takes at least ${times} times the CPU: ${short(median)}, ${median >= times ? 'met' : 'missed'}`
    )
  }
}

/** A sentence per row, in lines of at most 120 characters. */
function printNotes(rows: readonly PeerRow[]): void {
  for (const { name, note } of rows) {
    let text = `  ${name}:`.padEnd(width)
    for (const word of note.split(' ')) {
      if (text.length + word.length >= 120) {
        print(text)
        text = ' '.repeat(width)
      }
      text += ` ${word}`
    }
    print(text)
  }
}

/* Versions */

const versionOf = (program: string | undefined): string =>
  program === undefined
    ? ''
    : (/\d+\.\d+(\.\d+)?/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0] ?? '')

function versions(): readonly string[] {
  const { dependencies } = JSON.parse(readFileSync(file('bench/peers/package.json'), 'utf8'))
  const { redis, postgres } = findEngines()
  return [
    `Redis ${versionOf(redis)}, PostgreSQL ${versionOf(postgres?.postgres)}`,
    versionsOfPython(),
    Object.entries(dependencies)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')
  ]
}

/* The run */

/** What is between these two lines of bench/results.md is the last run's. */
const [begin, end] = ['<!-- npm run bench:peers -->', '<!-- the end of npm run bench:peers -->']

function writeResults(): void {
  const results = file('bench/results.md')
  const text = readFileSync(results, 'utf8')
  const [before, after] = [text.split(begin)[0], text.split(end)[1]]
  if (before === undefined || after === undefined) throw new Error(`${results} lacks the lines ${begin} and ${end}`)
  writeFileSync(results, `${before}${begin}\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n${end}${after}`)
}

print(`ROUNDS=${rounds} SECONDS=${seconds} npm run bench:peers, ${new Date().toISOString().slice(0, 10)}`)
print(
  `Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ` +
    `load ${loadavg()[0]?.toFixed(1)} at the start`
)
for (const text of versions()) print(text)
print('')
const scope = openScope()
try {
  const rows = await openServices(scope, await openStage(scope))
  for (const text of head) print(text)
  for (const operation of ['login', 'refresh', 'verify'] as const) {
    const measured = await measure(rows.filter((row) => row.operation === operation))
    print(operation)
    for (const each of measured) print(line(each, oursAmong(measured)))
    printGoals(operation, measured)
  }
  for (const operation of ['login', 'refresh', 'verify'] as const) {
    print(`\nwhat ${operation} does`)
    printNotes(rows.filter((row) => row.operation === operation))
  }
  if (process.env.WRITE !== 'no') writeResults()
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await scope.close()
}

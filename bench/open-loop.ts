/*
 * One worker at a fixed rate of requests: `npm run bench -- open-loop`. The closed loops of the other rows hide queueing: a server
 * that stalls is sent less. Here requests are due at a rate, whatever the answers do, and a latency counts from when its request was
 * due (bench/client.ts).
 *
 * The capacity is what the closed loop reaches. The floor is sent the same rate, in turn: client, stores and service share the cores
 * of the machine, and its row shows what they and the client contribute. At the same rate the CPU time per request compares what
 * both sides compute, too: in a closed loop the faster side keeps the client so busy that it never sleeps, and is spared waking it.
 */
import { openScope } from '../test/faults/worlds.ts'
import { type Figure, figure, type Sample, sample } from './measure.ts'
import { type Pair, type Scenario, scenarios } from './scenarios.ts'
import type { Stage } from './sides.ts'

/** Shares of the capacity, with the goal of the p99 in milliseconds where there is one. */
const shares: Readonly<Record<string, readonly (readonly [share: number, goalMs?: number])[]>> = {
  'verify-cached': [
    [0.5, 2],
    [0.8, 5]
  ],
  'verify-new': [[0.5]],
  refresh: [
    [0.5, 5],
    [0.8, 15]
  ],
  embedded: [[0.5]],
  'forward-auth': [[0.5]],
  introspect: [[0.5]]
}

/** Two lines per scenario and share, the floor's and ours: medians of the rounds, with the lowest and the highest. */
export async function measureOpenLoops(stage: Stage, rounds: number, seconds: number): Promise<readonly string[]> {
  const lines = [`open loop      share    rate         ${latencyHead}   CPU µs   ratio (spread)`]
  for (const scenario of scenarios.filter(({ name }) => name in shares)) {
    const scope = openScope()
    try {
      lines.push(...(await measurePair(scenario, await scenario.open(scope, stage), rounds, seconds)))
    } finally {
      await scope.close()
    }
  }
  return lines
}

const latencyHead = 'p50 ms  p99 ms  (spread)       '

async function measurePair(
  scenario: Scenario,
  { floor, ours }: Pair,
  rounds: number,
  seconds: number
): Promise<string[]> {
  for (const side of [floor, ours]) await side.ask({ seconds: 3 })
  const { requests, seconds: taken } = await ours.ask({ seconds })
  const capacity = requests / taken
  const lines: string[] = []
  for (const [share, goalMs] of shares[scenario.name] ?? []) {
    const order = { seconds, rate: capacity * share }
    for (const side of [floor, ours]) await side.ask(order)
    const pairs: (readonly [floor: Sample, ours: Sample])[] = []
    while (pairs.length < rounds) pairs.push([await sample(floor, order), await sample(ours, order)])
    const where = `${scenario.name.padEnd(14)} ${share.toFixed(1).padStart(5)} ${order.rate.toFixed(0).padStart(7)}`
    lines.push(`${where}  floor ${cells(pairs.map(([side]) => side))}`)
    const ratio = figure(pairs.map(([low, high]) => high.cpu / low.cpu))
    const own = pairs.map(([, side]) => side)
    lines.push(
      `${' '.repeat(where.length)}  ours  ${cells(own)} ${ratioCell(ratio)} ${verdict(scenario, ratio, own, goalMs)}`
    )
  }
  return lines
}

function cells(samples: readonly Sample[]): string {
  const [p50, p99, cpu] = (['p50', 'p99', 'cpu'] as const).map((name) => figure(samples.map((each) => each[name])))
  const spread = `(${p99?.least.toFixed(1)}..${p99?.most.toFixed(1)})`.padEnd(15)
  return `${p50?.median.toFixed(2).padStart(6)} ${p99?.median.toFixed(2).padStart(7)}  ${spread} ${cpu?.median.toFixed(1).padStart(8)}`
}

const ratioCell = ({ median, least, most }: Figure): string =>
  `${median.toFixed(2).padStart(7)} (${least.toFixed(2)}..${most.toFixed(2)})`

function verdict({ target }: Scenario, ratio: Figure, own: readonly Sample[], goalMs = Infinity): string {
  const outcome = (isMet: boolean): string => (isMet ? 'met' : 'missed')
  const cpu =
    target.cpu === undefined ? [] : [`CPU at most ${target.cpu.toFixed(2)}: ${outcome(ratio.median <= target.cpu)}`]
  const isFast = figure(own.map(({ p99 }) => p99)).median <= goalMs
  return [...cpu, ...(goalMs === Infinity ? [] : [`p99 at most ${goalMs} ms: ${outcome(isFast)}`])].join(', ')
}

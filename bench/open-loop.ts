/*
 * Latency of one worker at a fixed rate of requests: `npm run bench -- open-loop`. The closed loops of the other rows hide
 * queueing: a server that stalls is sent less. Here requests are due at a rate, whatever the answers do, and a latency counts from
 * when its request was due (bench/client.ts).
 *
 * The capacity is what the closed loop reaches. The floor is sent the same rate, in turn: client, stores and service share the cores
 * of the machine, and its row shows what they and the client contribute.
 */
import { openScope } from '../test/faults/worlds.ts'
import { figure, type Side } from './measure.ts'
import { type Pair, scenarios } from './scenarios.ts'
import type { Stage } from './sides.ts'

/** Goals of the p99 in milliseconds, by share of the capacity. */
const goals: Readonly<Record<string, readonly (readonly [share: number, goalMs: number])[]>> = {
  'verify-cached': [
    [0.5, 2],
    [0.8, 5]
  ],
  refresh: [
    [0.5, 5],
    [0.8, 15]
  ]
}

/** A table in milliseconds: the medians of the rounds, with the lowest and the highest p99. */
export async function measureOpenLoops(stage: Stage, rounds: number, seconds: number): Promise<readonly string[]> {
  const lines = ['open loop        share    rate          p50     p99  (spread)']
  for (const scenario of scenarios.filter(({ name }) => name in goals)) {
    const scope = openScope()
    try {
      const pair = await scenario.open(scope, stage)
      lines.push(...(await measurePair(scenario.name, pair, rounds, seconds)))
    } finally {
      await scope.close()
    }
  }
  return lines
}

async function measurePair(name: string, { floor, ours }: Pair, rounds: number, seconds: number): Promise<string[]> {
  for (const side of [floor, ours]) await side.ask({ seconds: 3 })
  const { requests, seconds: taken } = await ours.ask({ seconds })
  const capacity = requests / taken
  const lines: string[] = []
  for (const [share, goalMs] of goals[name] ?? []) {
    const order = { seconds, rate: capacity * share }
    const results: { floor: Latencies; ours: Latencies }[] = []
    while (results.length < rounds) results.push({ floor: await floor.ask(order), ours: await ours.ask(order) })
    const own = results.map((result) => result.ours)
    const verdict = figure(own.map(({ p99 }) => p99)).median <= goalMs ? 'met' : 'missed'
    const where = `${name.padEnd(16)} ${share.toFixed(1).padStart(5)} ${order.rate.toFixed(0).padStart(7)}`
    lines.push(`${where}  floor ${cells(results.map((result) => result.floor))}`)
    lines.push(`${' '.repeat(where.length)}  ours  ${cells(own)} at most ${goalMs} ms: ${verdict}`)
  }
  return lines
}

type Latencies = Pick<Awaited<ReturnType<Side['ask']>>, 'p50' | 'p99'>

function cells(results: readonly Latencies[]): string {
  const [p50, p99] = [figure(results.map((each) => each.p50)), figure(results.map((each) => each.p99))]
  const spread = `(${p99.least.toFixed(1)}..${p99.most.toFixed(1)})`.padEnd(15)
  return `${p50.median.toFixed(2).padStart(7)} ${p99.median.toFixed(2).padStart(7)}  ${spread}`
}

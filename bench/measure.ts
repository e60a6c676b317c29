/* What is measured of a side, and how rounds become figures. */
import type { Redis } from 'ioredis'
import { footprints } from '../test/support/processes.ts'
import type { Round, RoundOrder } from './client.ts'

/** A service and the client that sends it requests. */
export interface Side {
  /** The process that has started all others of the service. */
  readonly pid: number
  /** Sends requests for a round. Throws if an answer is wrong. */
  ask(order: RoundOrder): Promise<Round>
}

/** One figure of several rounds. */
export interface Figure {
  readonly median: number
  readonly least: number
  readonly most: number
}

export interface Figures {
  /** CPU microseconds a request: user and system, of all processes of the service. */
  readonly cpu: Figure
  /** Requests a second. */
  readonly rate: Figure
  /** Milliseconds. */
  readonly p99: Figure
}

export interface Comparison {
  readonly floor: Figures
  readonly ours: Figures
  /** Ours by the floor, round by round: a machine that slows down does so for both. */
  readonly ratio: Figures
}

/** One round of a side. Latencies are in milliseconds. */
export type Sample = Readonly<Record<keyof Figures | 'p50', number>>

export const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN

export const figure = (values: readonly number[]): Figure => ({
  median: quantile(values, 0.5),
  least: Math.min(...values),
  most: Math.max(...values)
})

const figures = (samples: readonly Sample[]): Figures => {
  const of = (name: keyof Figures): Figure => figure(samples.map((each) => each[name]))
  return { cpu: of('cpu'), rate: of('rate'), p99: of('p99') }
}

/** CPU seconds so far of a process and all it has started. Linux counts hundredths: a round of seconds is some hundred. */
export const cpuOf = (pid: number): number => footprints(pid).reduce((sum, { cpu }) => sum + cpu, 0)

/** Measures one round. Throws if an answer is wrong. */
export async function sample({ pid, ask }: Side, order: RoundOrder): Promise<Sample> {
  const before = cpuOf(pid)
  const { requests, seconds, p50, p99 } = await ask(order)
  return { cpu: ((cpuOf(pid) - before) * 1e6) / requests, rate: requests / seconds, p50, p99 }
}

/** Seconds of requests before the first round: a function is compiled well once it has been called some thousand times. */
const warmUp = 3

/** The floor, ours, the floor, ours … */
export async function compare(floor: Side, ours: Side, rounds: number, seconds: number): Promise<Comparison> {
  for (const side of [floor, ours]) await side.ask({ seconds: warmUp })
  const pairs: { readonly floor: Sample; readonly ours: Sample }[] = []
  while (pairs.length < rounds) {
    pairs.push({ floor: await sample(floor, { seconds }), ours: await sample(ours, { seconds }) })
  }
  const by = (name: keyof Sample): Figure => figure(pairs.map(({ floor, ours }) => ours[name] / floor[name]))
  return {
    floor: figures(pairs.map(({ floor }) => floor)),
    ours: figures(pairs.map(({ ours }) => ours)),
    ratio: { cpu: by('cpu'), rate: by('rate'), p99: by('p99') }
  }
}

/** Bytes that Redis has allocated, of which its connections are some ten thousand. */
export async function redisMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}

/* What is measured of a side, and how many rounds become one figure. */
import type { Redis } from 'ioredis'
import { footprints } from '../test/support/processes.ts'
import type { Round } from './client.ts'

/** A service and the client that asks it. */
export interface Side {
  /** The process that has started all others of the service. */
  readonly pid: number
  /** Asks for so many seconds. Throws when an answer is not the right one. */
  ask(seconds: number): Promise<Round>
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
  readonly p50: Figure
  readonly p99: Figure
}

export interface Comparison {
  readonly floor: Figures
  readonly ours: Figures
  /** Ours by the floor, of each round by itself: a machine that slows down does so for both. */
  readonly ratio: Figures
}

type Sample = Readonly<Record<keyof Figures, number>>

export const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN

export const figure = (values: readonly number[]): Figure => ({
  median: quantile(values, 0.5),
  least: Math.min(...values),
  most: Math.max(...values)
})

const figures = (samples: readonly Sample[]): Figures => {
  const of = (name: keyof Figures): Figure => figure(samples.map((sample) => sample[name]))
  return { cpu: of('cpu'), rate: of('rate'), p50: of('p50'), p99: of('p99') }
}

/** CPU seconds so far of a process and all it has started. Linux counts hundredths: a round of seconds is some hundred. */
const cpuOf = (pid: number): number => footprints(pid).reduce((sum, { cpu }) => sum + cpu, 0)

async function sample({ pid, ask }: Side, seconds: number): Promise<Sample> {
  const before = cpuOf(pid)
  const { requests, seconds: taken, p50, p99 } = await ask(seconds)
  return { cpu: ((cpuOf(pid) - before) * 1e6) / requests, rate: requests / taken, p50, p99 }
}

/** The floor, ours, the floor, ours … after one round of each that does not count: a function is compiled once it is often called. */
export async function compare(floor: Side, ours: Side, rounds: number, seconds: number): Promise<Comparison> {
  const samples: { readonly floor: Sample; readonly ours: Sample }[] = []
  for (let round = 0; round <= rounds; round++) {
    const pair = { floor: await sample(floor, seconds), ours: await sample(ours, seconds) }
    if (round > 0) samples.push(pair)
  }
  const by = ({ floor, ours }: (typeof samples)[0], name: keyof Figures): number => ours[name] / floor[name]
  return {
    floor: figures(samples.map(({ floor }) => floor)),
    ours: figures(samples.map(({ ours }) => ours)),
    ratio: figures(
      samples.map((pair) => ({
        cpu: by(pair, 'cpu'),
        rate: by(pair, 'rate'),
        p50: by(pair, 'p50'),
        p99: by(pair, 'p99')
      }))
    )
  }
}

/** Bytes that Redis has allocated, of which its connections are some ten thousand. */
export async function redisMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}

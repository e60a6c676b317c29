import type { Argon2Costs } from './argon2.ts'

export interface CalibrationLimits {
  /** How long a hash may take, in milliseconds. */
  readonly targetMs: number
  /** The maximum memory of a hash, in KiB. */
  readonly memory: number
}

export interface Calibration {
  readonly costs: Argon2Costs
  /** How long a hash took, in milliseconds. */
  readonly ms: number
}

/** The bounds of the ARGON2_ settings. */
const leastMemory = 8192
const maxPasses = 64

/**
 * The highest costs within a target, according to `measure`, which returns milliseconds; the lowest costs if even they exceed it.
 *
 * Maximises memory first, since memory makes guessing hardware expensive, then passes (RFC 9106 §4). One lane: a hasher computes
 * one hash at a time, on one core.
 */
export async function calibrate(
  { targetMs, memory: maxMemory }: CalibrationLimits,
  measure: (costs: Argon2Costs) => Promise<number>
): Promise<Calibration> {
  const tryCosts = async (memory: number, time: number): Promise<Calibration> => {
    const costs = { memory, time, parallelism: 1 }
    return { costs, ms: await measure(costs) }
  }
  let found = await tryCosts(maxMemory, 1)
  while (found.ms > targetMs && found.costs.memory > leastMemory)
    found = await tryCosts(Math.max(leastMemory, Math.floor(found.costs.memory / 2)), 1)

  const { memory } = found.costs
  const estimate = Math.min(Math.floor(targetMs / found.ms), maxPasses)
  if (estimate > 1) found = await tryCosts(memory, estimate)
  while (found.ms > targetMs && found.costs.time > 1) found = await tryCosts(memory, found.costs.time - 1)
  // The first measurement includes overhead beside the pass, so more passes may fit.
  while (found.costs.time < maxPasses && (found.ms * (found.costs.time + 1)) / found.costs.time <= targetMs) {
    const more = await tryCosts(memory, found.costs.time + 1)
    if (more.ms > targetMs) break
    found = more
  }
  return found
}

/**
 * The minimum costs that OWASP recommends, all equivalent.
 * Source: OWASP Password Storage Cheat Sheet, Argon2id.
 */
const advised = [
  { memory: 47_104, time: 1 },
  { memory: 19_456, time: 2 },
  { memory: 12_288, time: 3 },
  { memory: 9216, time: 4 },
  { memory: 7168, time: 5 }
] as const

/** Whether these costs are below the recommendation. */
export const isWeak = ({ memory, time }: Argon2Costs): boolean =>
  !advised.some((least) => memory >= least.memory && time >= least.time)

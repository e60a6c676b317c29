import type { Argon2Costs } from './argon2.ts'

export interface CalibrationLimits {
  /** How long a password may take, in milliseconds. */
  readonly targetMs: number
  /** The most memory that one may take, in KiB. */
  readonly memory: number
}

export interface Calibration {
  readonly costs: Argon2Costs
  /** Milliseconds that one password took. */
  readonly ms: number
}

/** What the ARGON2_ settings allow. */
const leastMemory = 8192
const mostPasses = 64

/**
 * The costs that come closest to a target from below, by what `measure` says that costs take, in milliseconds; the
 * least there are when even these take longer.
 *
 * As much memory as may be first, since that is what makes a machine for guessing dear, then as many passes as fit (RFC
 * 9106 §4). One lane: a hasher does one password at a time, on one core.
 */
export async function calibrate(
  { targetMs, memory: mostMemory }: CalibrationLimits,
  measure: (costs: Argon2Costs) => Promise<number>
): Promise<Calibration> {
  const tryCosts = async (memory: number, time: number): Promise<Calibration> => {
    const costs = { memory, time, parallelism: 1 }
    return { costs, ms: await measure(costs) }
  }
  let found = await tryCosts(mostMemory, 1)
  while (found.ms > targetMs && found.costs.memory > leastMemory)
    found = await tryCosts(Math.max(leastMemory, Math.floor(found.costs.memory / 2)), 1)

  const { memory } = found.costs
  const estimate = Math.min(Math.floor(targetMs / found.ms), mostPasses)
  if (estimate > 1) found = await tryCosts(memory, estimate)
  while (found.ms > targetMs && found.costs.time > 1) found = await tryCosts(memory, found.costs.time - 1)
  // Part of the first one was not the pass itself, so there may be room for more.
  while (found.costs.time < mostPasses && (found.ms * (found.costs.time + 1)) / found.costs.time <= targetMs) {
    const more = await tryCosts(memory, found.costs.time + 1)
    if (more.ms > targetMs) break
    found = more
  }
  return found
}

/**
 * The least costs that OWASP advises, each as good as the others.
 * Source: OWASP Password Storage Cheat Sheet, Argon2id.
 */
const advised = [
  { memory: 47_104, time: 1 },
  { memory: 19_456, time: 2 },
  { memory: 12_288, time: 3 },
  { memory: 9216, time: 4 },
  { memory: 7168, time: 5 }
] as const

/** Whether a digest of these costs is cheaper to guess than it should be. */
export const isWeak = ({ memory, time }: Argon2Costs): boolean =>
  !advised.some((least) => memory >= least.memory && time >= least.time)

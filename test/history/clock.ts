import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { ReadScript } from '../../src/stores/redis/scripts.ts'
import { systemClock } from '../../src/time.ts'

/**
 * Redis' clock, replaced by a key that is stepped a second at a time, concurrently with everything else. The second at which
 * a script ran is then known: it is not earlier than the last step that Redis had confirmed when the operation began, and not
 * later than the last one that was sent when it ended.
 */
export interface SteppedClock {
  /** Redis has surely come so far. */
  earliest(): number
  /** Redis has surely come no further. */
  latest(): number
  /** Moves it by a second, unless it stands still; resolves when Redis has confirmed it, which a restart may delay. */
  step(): Promise<void>
  /** Resolves when Redis has come so far, or when the clock has stopped. */
  until(second: number): Promise<void>
  /** It stands still while the work is done. */
  standStill<Result>(work: () => Promise<Result>): Promise<Result>
  /** Wakes all who wait. */
  stop(): void
}

/** It begins with the present, so that what Redis expires by its own clock never expires before the stepped one says so. */
export async function openSteppedClock(control: Redis, key: string): Promise<SteppedClock> {
  let latest = systemClock()
  let earliest = latest
  let stopped = false
  let holds = 0
  const sleepers = new Map<() => void, number>()
  const wake = () => {
    for (const [resume, second] of sleepers) {
      if (!stopped && second > earliest) continue
      sleepers.delete(resume)
      resume()
    }
  }
  await control.set(key, latest)
  return {
    earliest: () => earliest,
    latest: () => latest,
    async step() {
      if (holds > 0) return
      latest++
      await control.set(key, latest)
      earliest = latest
      wake()
    },
    async until(second) {
      if (stopped || second <= earliest) return
      await new Promise<void>((resume) => sleepers.set(resume, second))
    },
    async standStill(work) {
      holds++
      try {
        return await work()
      } finally {
        holds--
      }
    },
    stop() {
      stopped = true
      wake()
    }
  }
}

/** A fault planted into a script: the text that is there, and what takes its place. */
export type Replacement = readonly [text: string, by: string]

/** The scripts as they are, but for the clock, which is `key`, and for what is replaced by script name. */
export const readSteppedScript =
  (key: string, faults: Readonly<Record<string, readonly Replacement[]>> = {}): ReadScript =>
  (name) => {
    const text = readFileSync(new URL(import.meta.resolve(`#lua/${name}.lua`)), 'utf8')
    const faulty = (faults[name] ?? []).reduce((text, [from, to]) => replace(text, from, to), text)
    const timed = faulty.replaceAll("redis.call('TIME')[1]", `redis.call('GET', '${key}')`)
    // Redis counts a TTL by its own clock; the moment of the expiry is the same by both.
    return timed.replaceAll("redis.call('TTL', sessions)", "(redis.call('EXPIRETIME', sessions) - now)")
  }

function replace(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`a fault must match its script once: ${from}`)
  return text.replace(from, () => to)
}

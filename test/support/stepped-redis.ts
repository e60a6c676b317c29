import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { ReadScript } from '../../src/stores/redis/scripts.ts'
import { makeManualClock, systemClock } from '../../src/time.ts'

/** A clock that scripts go by, and that tests step. */
export interface SteppedRedis {
  now(): number
  advance(seconds: number): Promise<void>
  /** The scripts as they are, but for their clock. Budgets expire by the real one, which must not be ahead of this. */
  readonly readScript: ReadScript
}

/** The clock is the key `${prefix}clock`, which begins at the real time. */
export async function stepRedis(redis: Redis, prefix: string): Promise<SteppedRedis> {
  const clock = makeManualClock(systemClock())
  const advance = async (seconds: number): Promise<void> => {
    clock.advance(seconds)
    await redis.set(`${prefix}clock`, clock())
  }
  await advance(0)
  return {
    now: clock,
    advance,
    readScript: (name) =>
      readFileSync(new URL(import.meta.resolve(`#lua/${name}.lua`)), 'utf8')
        .replaceAll("redis.call('TIME')[1]", `redis.call('GET', '${prefix}clock')`)
        .replaceAll("'EX', math", "'EX', 600 + math")
  }
}

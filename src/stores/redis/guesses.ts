import { type Charge, type GuessStore, trustedFor } from '../../passwords/guessing.ts'
import type { Circuit } from '../circuit.ts'
import { type Connection, failClosed, makeRedisCircuit } from './client.ts'
import { makeNames, type Names } from './names.ts'
import { defineScripts, type ReadScript, spend } from './scripts.ts'

export interface RedisGuessesOptions {
  readonly names?: Names
  /** Shared with all other users of the connection. */
  readonly circuit?: Circuit
  /** Tests replace the clock in the scripts. */
  readonly readScript?: ReadScript
}

/**
 * Guesses in Redis: one script call per budget, since in a Cluster they are in different slots; all are sent at once.
 */
export function openRedisGuesses(
  redis: Connection,
  { names = makeNames(), circuit = makeRedisCircuit(redis), readScript }: RedisGuessesOptions = {}
): GuessStore {
  defineScripts(redis, readScript)
  const spendAll = (charges: readonly Charge[], amount: 1 | -1): Promise<number[]> =>
    Promise.all(charges.map(({ key, budget }) => spend(redis, names.guesses(key), budget, amount)))
  return failClosed<GuessStore>(circuit, {
    async take(charges) {
      const waits = await spendAll(charges, 1)
      const wait = Math.max(0, ...waits)
      // Until then another caller may be refused needlessly, which is better than allowing an extra guess.
      if (wait > 0)
        await spendAll(
          charges.filter((_, index) => waits[index] === 0),
          -1
        )
      return wait
    },
    async giveBack(charges) {
      await spendAll(charges, -1)
    },
    async isKnown(key) {
      return (await redis.exists(names.knownSource(key))) === 1
    },
    async remember(key) {
      await redis.set(names.knownSource(key), '', 'EX', trustedFor)
    }
  })
}

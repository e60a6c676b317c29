import { argon2id, hash, verify } from 'argon2'
import type { Config } from '../config/settings.ts'
import type { PasswordHasher } from './hasher.ts'
import { makeQueue } from './queue.ts'

export interface Argon2Settings {
  /** KiB. */
  readonly memory: number
  /** Passes. */
  readonly time: number
  /** Lanes. */
  readonly parallelism: number
  /** Calls that may wait. */
  readonly queue: number
}

/** What the configuration says of it. */
export const argon2Settings = (config: Config): Argon2Settings => ({
  memory: config.argon2Memory,
  time: config.argon2Time,
  parallelism: config.argon2Parallelism,
  queue: config.hashQueue
})

// argon2 runs on libuv's pool of four threads, which file calls and DNS lookups share: twelve hashes at once delayed a file call
// by 0.5 s, two at once by 20 ms (measured for DEPENDENCIES.md).
const atOnce = 2

/** The largest cost that a stored digest may ask for: what the ARGON2_ settings allow at most. */
const most = { memory: 1_048_576, time: 64, parallelism: 16 }

/**
 * Hashes by argon2id with these costs; verifies argon2id digests of other, bounded costs too.
 * Throws as PasswordHasher says, and argon2's own error where memory runs out.
 * Source: RFC 9106 (argon2), its digest in PHC string format as the reference implementation writes it.
 */
export function makeArgon2Hasher({ memory, time, parallelism, queue }: Argon2Settings): PasswordHasher {
  const enqueue = makeQueue({ atOnce, waiting: queue })
  const prefix = `$argon2id$v=19$m=${memory},t=${time},p=${parallelism}$`
  // Nobody's digest: 16 bytes of salt and 32 of hash, all zero. To verify against it is exactly the work of a real one.
  const decoy = `${prefix}${'A'.repeat(22)}$${'A'.repeat(43)}`
  return {
    hash: (password) =>
      enqueue(() =>
        hash(password, { type: argon2id, memoryCost: memory, timeCost: time, parallelism, hashLength: 32 })
      ),
    async verify(password, digest) {
      const against = digest !== undefined && isVerifiable(digest) ? digest : decoy
      const matches = await enqueue(() => verify(against, password))
      return matches && against === digest
    },
    needsRehash: (digest) => !digest.startsWith(prefix)
  }
}

/** Whether this is an argon2id digest that may be computed: argon2 would throw at a malformed one, and obey a costly one. */
function isVerifiable(digest: string): boolean {
  const match =
    /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/.exec(digest)
  if (match === null) return false
  const [memory = 0, time = 0, parallelism = 0] = match.slice(1).map(Number)
  const isEnough = time >= 1 && parallelism >= 1 && memory >= 8 * parallelism
  return isEnough && memory <= most.memory && time <= most.time && parallelism <= most.parallelism
}

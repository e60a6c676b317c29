import type { Config } from '../config/settings.ts'
import { equalInConstantTime } from '../random.ts'
import { type Argon2Costs, makeArgon2Writer } from './argon2.ts'
import { readDigest } from './digest.ts'
import { djangoWriter } from './django.ts'
import type { StoredDigest } from './form.ts'
import { makeQueue } from './queue.ts'

/**
 * Hashes and checks passwords. Costs tens of milliseconds of CPU by design, so calls wait in a bounded queue. Throws
 * KeyturnError BUSY when that is full, and when `signal` is aborted while the call waits.
 */
export interface PasswordHasher {
  /** The password as a new digest. */
  hash(password: string, signal?: AbortSignal): Promise<string>
  /**
   * Whether `password` is the one behind `digest`. Without a digest, and with one that cannot be read, it does the work of a
   * new one and answers false, so that the time tells nothing.
   */
  verify(password: string, digest: string | undefined, signal?: AbortSignal): Promise<boolean>
  /** Whether a password just verified against `digest` should be rehashed. Does not wait in the queue. */
  needsRehash(digest: string): boolean
  /**
   * Throws KeyturnError BUSY when the queue is known to be full: asked once for each login, before all else.
   */
  refuseIfFull?(): void
}

/** Plain values, so that another process can be given them. */
export interface HasherSettings extends Argon2Costs {
  /** Calls that may wait. */
  readonly queue: number
  /** How digests are written. */
  readonly form: 'argon2id' | 'django'
  /** Whether a login replaces a digest of another form. */
  readonly rehash: boolean
}

export const hasherSettings = (config: Config): HasherSettings => ({
  memory: config.argon2Memory,
  time: config.argon2Time,
  parallelism: config.argon2Parallelism,
  queue: config.hashQueue,
  // In Django's own table the default is what every Django reads.
  form: writesForDjango(config) ? 'django' : 'argon2id',
  rehash: config.passwordRehash !== 'never'
})

const writesForDjango = ({ passwordRehash, usersTable }: Config): boolean =>
  passwordRehash === 'django' || (usersTable !== undefined && passwordRehash !== 'argon2id')

// argon2, PBKDF2 and scrypt run on libuv's pool of four threads, which file calls and DNS lookups share: twelve hashes
// at once delayed a file call by 0.5 s, two at once by 20 ms (measured for DEPENDENCIES.md). In a hasher there is one
// thread, and the second call is what it begins when it has done the first.
const atOnce = 2

/**
 * Verifies digests of every form, and writes those of one: argon2id of these costs, or what Django reads.
 * Throws as PasswordHasher says, and argon2's own error where memory runs out.
 */
export function makePasswordHasher({ queue, form, rehash, ...costs }: HasherSettings): PasswordHasher {
  const enqueue = makeQueue({ atOnce, waiting: queue })
  const writer = form === 'django' ? djangoWriter : makeArgon2Writer(costs)
  const dummy = readDigest(writer.decoy) as StoredDigest
  const matches = async (password: string, { hash, compute, isFast }: StoredDigest): Promise<boolean> => {
    const isEqual = equalInConstantTime(await compute(password), hash)
    // A fast digest would respond sooner, and so reveal which users have one.
    if (isFast) await dummy.compute(password)
    return isEqual
  }
  return {
    hash: (password, signal) => enqueue(() => writer.hash(password), signal),
    async verify(password, digest, signal) {
      // PBKDF2 and scrypt take a password and the same with a NUL behind it as equal (HMAC pads its key with them).
      const stored = digest === undefined || password.includes('\0') ? undefined : readDigest(digest)
      const isEqual = await enqueue(() => matches(password, stored ?? dummy), signal)
      return isEqual && stored !== undefined
    },
    needsRehash: (digest) => rehash && !writer.keeps(digest)
  }
}

import type { Config } from '../config/settings.ts'
import { equalInConstantTime } from '../random.ts'
import { type Argon2Costs, makeArgon2Writer } from './argon2.ts'
import { readDigest } from './digest.ts'
import { djangoWriter } from './django.ts'
import type { StoredDigest } from './form.ts'
import { makeQueue } from './queue.ts'

/**
 * Hashes and checks passwords, which costs tens of milliseconds of CPU by design, so calls wait in a bounded queue. Throws
 * KeyturnError BUSY if the queue is full, or `signal` is aborted while the call waits.
 */
export interface PasswordHasher {
  /** A new digest of the password. */
  hash(password: string, signal?: AbortSignal): Promise<string>
  /**
   * Whether `password` matches `digest`. Without a readable digest it does the work of a new one and returns false, so that the
   * time reveals nothing.
   */
  verify(password: string, digest: string | undefined, signal?: AbortSignal): Promise<boolean>
  /** Whether a password just verified against `digest` should be rehashed. Does not wait in the queue. */
  needsRehash(digest: string): boolean
  /**
   * Throws KeyturnError BUSY if the queue is known to be full. Called first for each login.
   */
  refuseIfFull?(): void
}

/** Plain values that can be sent to another process. */
export interface HasherSettings extends Argon2Costs {
  /** Calls that may wait. */
  readonly queue: number
  /** The format of new digests. */
  readonly form: 'argon2id' | 'django'
  /** Whether a login replaces digests of other formats. */
  readonly rehash: boolean
}

export const hasherSettings = (config: Config): HasherSettings => ({
  memory: config.argon2Memory,
  time: config.argon2Time,
  parallelism: config.argon2Parallelism,
  queue: config.hashQueue,
  // In Django's own table the default is the format that every Django supports.
  form: writesForDjango(config) ? 'django' : 'argon2id',
  rehash: config.passwordRehash !== 'never'
})

const writesForDjango = ({ passwordRehash, usersTable }: Config): boolean =>
  passwordRehash === 'django' || (usersTable !== undefined && passwordRehash !== 'argon2id')

// argon2, PBKDF2 and scrypt run on libuv's pool of four threads, which file and DNS calls share: twelve concurrent hashes
// delayed a file call by 0.5 s, two by 20 ms. A hasher has one thread; the second call is ready to run when the first one ends.
const concurrency = 2

/**
 * Verifies digests of every supported format; writes argon2id with these costs, or the format for Django.
 * Throws as described in PasswordHasher, and argon2's own error if memory runs out.
 */
export function makePasswordHasher({ queue, form, rehash, ...costs }: HasherSettings): PasswordHasher {
  const enqueue = makeQueue({ concurrency, waiting: queue })
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
      // PBKDF2 and scrypt do not distinguish a password from the same with a trailing NUL (HMAC pads its key with NULs).
      const stored = digest === undefined || password.includes('\0') ? undefined : readDigest(digest)
      const isEqual = await enqueue(() => matches(password, stored ?? dummy), signal)
      return isEqual && stored !== undefined
    },
    needsRehash: (digest) => rehash && !writer.keeps(digest)
  }
}

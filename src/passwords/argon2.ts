import { decoyPart, type ReadDigest, type Writer } from './form.ts'

export interface Argon2Costs {
  /** KiB. */
  readonly memory: number
  /** Passes. */
  readonly time: number
  /** Lanes. */
  readonly parallelism: number
}

/** Loaded by hashers only. */
const argon2 = () => import('argon2')

/** The type numbers of RFC 9106 §3.1, which the library uses too. */
const types = { argon2d: 0, argon2i: 1, argon2id: 2 } as const

/** The maximum cost of a stored digest: the upper bounds of the ARGON2_ settings. */
const most: Argon2Costs = { memory: 1_048_576, time: 64, parallelism: 16 }

const shape =
  /^((?:argon2)?\$(argon2id|argon2i|argon2d)\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2}))\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

/**
 * Digests in PHC string format, and with the prefix `argon2` of Django's Argon2PasswordHasher: argon2id, before Django 3.2
 * argon2i, and argon2d if a project chose that.
 * Source: RFC 9106; django/contrib/auth/hashers.py.
 */
export const readArgon2: ReadDigest = (digest) => {
  const [, head = '', type = '', m, t, p, salt = '', stored = ''] = shape.exec(digest) ?? []
  const costs = { memory: Number(m), time: Number(t), parallelism: Number(p) }
  if (!isPayable(costs)) return undefined
  const options = {
    type: types[type as keyof typeof types],
    memoryCost: costs.memory,
    timeCost: costs.time,
    parallelism: costs.parallelism,
    salt: Buffer.from(salt, 'base64'),
    hashLength: Buffer.from(stored, 'base64').length,
    raw: true
  } as const
  return {
    hash: stored,
    async compute(password) {
      const { hash } = await argon2()
      return (await hash(password, options)).toString('base64').replace(/=+$/, '')
    },
    decoy: `${head}$${decoyPart(salt)}$${decoyPart(stored)}`,
    isFast: false
  }
}

/** argon2 throws on costs that are too low, but accepts costs that are too high. */
function isPayable({ memory, time, parallelism }: Argon2Costs): boolean {
  const isEnough = time >= 1 && parallelism >= 1 && memory >= 8 * parallelism
  return isEnough && memory <= most.memory && time <= most.time && parallelism <= most.parallelism
}

/** Keyturn's own format: argon2id with these costs, in PHC string format as the reference implementation writes it. */
export function makeArgon2Writer({ memory, time, parallelism }: Argon2Costs): Writer {
  const prefix = `$argon2id$v=19$m=${memory},t=${time},p=${parallelism}$`
  return {
    async hash(password) {
      const { hash } = await argon2()
      return await hash(password, {
        type: types.argon2id,
        memoryCost: memory,
        timeCost: time,
        parallelism,
        hashLength: 32
      })
    },
    // Django prefixes the name of its hasher.
    keeps: (digest) => digest.startsWith(prefix) || digest.startsWith(`argon2${prefix}`),
    // 16 bytes of salt and 32 of hash.
    decoy: `${prefix}${'a'.repeat(22)}$${'a'.repeat(43)}`
  }
}

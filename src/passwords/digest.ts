import { readArgon2 } from './argon2.ts'
import { readBcrypt, readFast, readPbkdf2, readScrypt } from './django.ts'
import type { StoredDigest } from './form.ts'

const forms = [readArgon2, readPbkdf2, readScrypt, readBcrypt, readFast]

/** A digest of any form that can be verified; undefined for what nobody can log in with, such as Django's `!…`. */
export function readDigest(digest: string): StoredDigest | undefined {
  for (const read of forms) {
    const stored = read(digest)
    if (stored !== undefined) return stored
  }
  return undefined
}

/**
 * What to verify the password of a login against: the user's own digest or, for a name that nobody has and for a digest that
 * lets nobody in, a decoy of one that was drawn from all users. Undefined when none of these can be read.
 */
export function digestToVerify(own: string | undefined, drawn: readonly string[]): string | undefined {
  if (own !== undefined && readDigest(own) !== undefined) return own
  return drawn.map((digest) => readDigest(digest)?.decoy).find((decoy) => decoy !== undefined)
}

import { readArgon2 } from './argon2.ts'
import { readBcrypt, readFast, readPbkdf2, readScrypt } from './django.ts'
import type { StoredDigest } from './form.ts'

const forms = [readArgon2, readPbkdf2, readScrypt, readBcrypt, readFast]

/** Parses a digest of any supported format; undefined for others, such as Django's unusable `!…`. */
export function readDigest(digest: string): StoredDigest | undefined {
  for (const read of forms) {
    const stored = read(digest)
    if (stored !== undefined) return stored
  }
  return undefined
}

/** What another system stores in its password column. */
export type DigestKind = 'verifiable' | 'unverifiable' | 'unusable'

/** Longest digest that is imported. Django's column holds 128 characters, argon2 with long salts takes more. */
const maxDigestLength = 512

/** The formats of current and former Django versions: django/contrib/auth/hashers.py. */
const formOfDjango = /^(pbkdf2_sha256|pbkdf2_sha1|argon2|scrypt|bcrypt|bcrypt_sha256|md5|sha1|crypt)\$/

/**
 * Whether a login can succeed against `text`: not with a format or cost that is not supported, nor if Django has no
 * usable password (`!…`, or nothing). Undefined for anything that is not a digest, such as a plaintext password.
 */
export function digestKind(text: string): DigestKind | undefined {
  // No hasher writes such characters, and PostgreSQL cannot store NUL.
  if (text.length > maxDigestLength || /\p{C}/u.test(text)) return undefined
  if (text === '' || text.startsWith('!')) return 'unusable'
  if (readDigest(text) !== undefined) return 'verifiable'
  return formOfDjango.test(text) ? 'unverifiable' : undefined
}

/**
 * What to verify the password of a login against: the user's own digest or, for an unknown name or an
 * unusable digest, a decoy of one drawn from all users. Undefined when none of these can be read.
 */
export function digestToVerify(own: string | undefined, drawn: readonly string[]): string | undefined {
  if (own !== undefined && readDigest(own) !== undefined) return own
  return drawn.map((digest) => readDigest(digest)?.decoy).find((decoy) => decoy !== undefined)
}

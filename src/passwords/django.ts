/*
 * Digests of Django's hashers (django/contrib/auth/hashers.py, 3.2 and later) except argon2, which is in argon2.ts.
 * The maximum cost is about three seconds of CPU, ten times what Django uses today.
 */
import { createHash, pbkdf2, type ScryptOptions, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { hash as bcryptHash } from 'bcryptjs'
import { randomId } from '../random.ts'
import { decoyPart, type ReadDigest, type Writer } from './form.ts'

const derivePbkdf2 = promisify(pbkdf2)
const deriveScrypt = promisify<string, string, number, ScryptOptions, Buffer>(scrypt)

/** Django's default is 1,200,000 in 6.0: 0.4 s. */
const maxIterations = 10_000_000

/** `pbkdf2_sha256$260000$salt$hash`, and `pbkdf2_sha1`. */
export const readPbkdf2: ReadDigest = (digest) => {
  const match = /^pbkdf2_(sha256|sha1)\$(\d{1,8})\$([^$]{1,128})\$([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{27}=)$/.exec(digest)
  const [, name = '', iterations = '', salt = '', hash = ''] = match ?? []
  const count = Number(iterations)
  const length = name === 'sha256' ? 32 : 20
  if (count < 1 || count > maxIterations || hash.length !== base64Length(length)) return undefined
  return {
    hash,
    compute: async (password) => (await derivePbkdf2(password, salt, count, length, name)).toString('base64'),
    decoy: `pbkdf2_${name}$${iterations}$${decoyPart(salt)}$${decoyPart(hash)}`,
    isFast: false
  }
}

const base64Length = (bytes: number): number => 4 * Math.ceil(bytes / 3)

/** `scrypt$16384$salt$8$5$hash`: N, the salt, r, p, and 64 bytes. Since Django 4.0. */
export const readScrypt: ReadDigest = (digest) => {
  const match = /^scrypt\$(\d{1,8})\$([^$]{1,128})\$(\d{1,3})\$(\d{1,3})\$([A-Za-z0-9+/]{86}==)$/.exec(digest)
  const [, n = '', salt = '', r = '', p = '', hash = ''] = match ?? []
  const costs = { N: Number(n), r: Number(r), p: Number(p) }
  if (!isPayableScrypt(costs)) return undefined
  return {
    hash,
    // Without `maxmem`, Node refuses to use more than 32 MiB.
    compute: async (password) =>
      (await deriveScrypt(password, salt, 64, { ...costs, maxmem: 2 ** 29 })).toString('base64'),
    decoy: `scrypt$${n}$${decoyPart(salt)}$${r}$${p}$${decoyPart(hash)}`,
    isFast: false
  }
}

/** RFC 7914 §2 requires a power of two below 2^(16 r). The other bounds: 256 MiB, and the CPU time of the other formats. */
function isPayableScrypt({ N, r, p }: { readonly N: number; readonly r: number; readonly p: number }): boolean {
  const log = Math.log2(N)
  const isPossible = N > 1 && Number.isInteger(log) && r > 0 && p > 0 && log < 16 * r
  return isPossible && N * r <= 2 ** 21 && N * r * p <= 2 ** 23
}

/**
 * `bcrypt_sha256$$2b$12$…`, which hashes the hex of the password's SHA-256, and `bcrypt$$2b$12$…`, which reads 72 bytes of the
 * password and ignores the rest.
 */
export const readBcrypt: ReadDigest = (digest) => {
  const match = /^bcrypt(_sha256)?\$(\$2[aby]\$(\d\d)\$)([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/.exec(digest)
  const [, before = '', costs = '', rounds = '', salt = '', hash = ''] = match ?? []
  // Each round doubles the work: 12 are Django's default, 15 take three seconds. bcryptjs throws below 4.
  if (Number(rounds) < 4 || Number(rounds) > 15) return undefined
  const secretOf = (password: string): string => (before === '' ? password : hexOf('sha256', password))
  return {
    hash,
    compute: async (password) => (await bcryptHash(secretOf(password), costs + salt)).slice(-hash.length),
    decoy: `bcrypt${before}$${costs}${decoyPart(salt)}${decoyPart(hash)}`,
    isFast: false
  }
}

/**
 * `md5$salt$hash` and `sha1$salt$hash`, also with an empty salt, and a bare MD5: old versions of Django wrote these, and test
 * settings still do. They are supported only so that a login can replace them.
 */
export const readFast: ReadDigest = (digest) => {
  const [, name = 'md5', salt = '', hash = ''] =
    /^(?:(md5|sha1)\$([^$]{0,128})\$)?([0-9a-f]{40}|[0-9a-f]{32})$/.exec(digest) ?? []
  if (hash.length !== (name === 'md5' ? 32 : 40)) return undefined
  return {
    hash,
    compute: async (password) => hexOf(name, salt + password),
    decoy: `${name}$${decoyPart(salt)}$${decoyPart(hash)}`,
    isFast: true
  }
}

const hexOf = (name: string, text: string): string => createHash(name).update(text).digest('hex')

/** The iterations that OWASP recommends for PBKDF2 with SHA-256, and those of Django 4.2: 0.2 s of CPU. */
const newIterations = 600_000

/**
 * Writes digests for a table that Django reads too: pbkdf2_sha256, the only format that every Django supports. argon2 and bcrypt
 * require optional packages, without which a login in Django fails with an error; scrypt is new in 4.0.
 *
 * Django's digests with a cost factor are kept, whatever the cost. Django updates them at its own logins to the costs of its
 * version: two writers with different costs would replace each other's digest at every login, and each time Django would end the
 * user's other sessions, which it checks against the digest.
 */
export const djangoWriter: Writer = {
  async hash(password) {
    const salt = randomId()
    const hash = await derivePbkdf2(password, salt, newIterations, 32, 'sha256')
    return `pbkdf2_sha256$${newIterations}$${salt}$${hash.toString('base64')}`
  },
  keeps: (digest) => /^(pbkdf2_sha256|pbkdf2_sha1|argon2|scrypt|bcrypt|bcrypt_sha256)\$/.test(digest),
  decoy: `pbkdf2_sha256$${newIterations}$${'a'.repeat(32)}$${'a'.repeat(43)}=`
}

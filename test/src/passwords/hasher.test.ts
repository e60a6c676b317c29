import { hash as argon2Hash } from 'argon2'
import fc from 'fast-check'
import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { type HasherSettings, hasherSettings, makePasswordHasher } from '../../../src/passwords/hasher.ts'

const cheap: HasherSettings = { memory: 8, time: 1, parallelism: 1, queue: 64, form: 'argon2id', rehash: true }
const hasher = makePasswordHasher(cheap)

t.test('a password matches its own digest only', async (t) => {
  const digest = await hasher.hash('correct horse')
  t.match(digest, /^\$argon2id\$v=19\$m=8,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.equal(await hasher.verify('correct horse', digest), true)
  t.equal(await hasher.verify('correct horsf', digest), false)
  t.equal(await hasher.verify('', digest), false)
  t.not(await hasher.hash('correct horse'), digest, 'each has its own salt')
})

t.test('nothing is cut, nor normalised', async (t) => {
  for (const [password, other] of [
    ['a'.repeat(1024), 'a'.repeat(1023)],
    ['\u{e9}', 'e\u{301}']
  ] as const) {
    for (const form of ['argon2id', 'django'] as const) {
      const digest = await makePasswordHasher({ ...cheap, form }).hash(password)
      t.equal(await hasher.verify(password, digest), true)
      t.equal(await hasher.verify(other, digest), false)
    }
  }
})

t.test('a password with a NUL matches nothing, not even what was made of it', async (t) => {
  for (const password of ['secret\0', 'secret\0a', '\0']) {
    t.equal(await hasher.verify(password, await hasher.hash(password)), false, JSON.stringify(password))
  }
  const short = 'pbkdf2_sha256$1000$salt$qN+JnzxPIE2WfgrWPAkph8EAVeuwF7PZ0ordIY1Peq0='
  t.equal(await hasher.verify('secret', short), true)
  t.equal(await hasher.verify('secret\0', short), false, 'which PBKDF2 itself takes for equal')
})

t.test('digests of other costs verify, and are due for another', async (t) => {
  const digest = await argon2Hash('correct horse', { memoryCost: 32, timeCost: 2, parallelism: 2, hashLength: 24 })
  t.equal(await hasher.verify('correct horse', digest), true)
  t.equal(hasher.needsRehash(digest), true)
  t.equal(hasher.needsRehash(await hasher.hash('correct horse')), false)
})

t.test('an argon2 digest with costs out of bounds is refused and never computed', async (t) => {
  const digest = await hasher.hash('p')
  const tail = digest.slice(digest.indexOf('p=1') + 3)
  for (const head of [
    '$argon2i$v=19$m=8,t=1,p=1',
    '$argon2id$v=16$m=8,t=1,p=1',
    '$argon2id$v=19$m=1048577,t=1,p=1',
    '$argon2id$v=19$m=8,t=65,p=1',
    '$argon2id$v=19$m=8192,t=1,p=17',
    '$argon2id$v=19$m=4294967295,t=1,p=1',
    '$argon2id$v=19$m=8,t=0,p=1',
    '$argon2id$v=19$m=8,t=1,p=0',
    '$argon2id$v=19$m=15,t=1,p=2'
  ]) {
    t.equal(await hasher.verify('p', head + tail), false, head)
  }
  // Their own digests, and yet too dear: these would match if they were computed.
  for (const [memoryCost, timeCost, parallelism] of [
    [8, 65, 1],
    [136, 1, 17]
  ] as const) {
    const dear = await argon2Hash('p', { memoryCost, timeCost, parallelism })
    t.equal(await hasher.verify('p', dear), false, dear)
  }
  for (const other of ['', '!', 'x'.repeat(10_000), `${digest}\n`, digest.slice(0, -20), `${digest}=`]) {
    t.equal(await hasher.verify('p', other), false, other.slice(0, 40))
  }
})

t.test('no digest, however mangled, makes it throw or answer true', async (t) => {
  const digest = await hasher.hash('p')
  const mangled = fc.tuple(fc.nat(digest.length), fc.nat(6), fc.string({ maxLength: 6 })).map(([at, cut, text]) => {
    return digest.slice(0, at) + text + digest.slice(at + cut)
  })
  await fc.assert(
    fc.asyncProperty(
      mangled,
      async (text) => isSame(text, digest) || !isCheap(text) || !(await hasher.verify('p', text))
    ),
    { numRuns: 500 }
  )
  t.pass('500 of them')
})

/** Another spelling of the salt's bytes, in its last character's unused bits or with `argon2` before it, is the same digest. */
const isSame = (a: string, b: string): boolean => {
  const read = (text: string) =>
    text.split('$').map((part, index) => {
      if (index === 0) return part.replace('argon2', '')
      return index === 4 ? Buffer.from(part, 'base64').toString('hex') : part
    })
  return read(a).join('$') === read(b).join('$')
}

/** A mangled cost may be allowed and dear: such a digest is right to be computed, but not here. */
const isCheap = (digest: string): boolean => !/m=\d{4,},|t=\d{2,},/.test(digest)

t.test('which digests are written, and which are rehashed', async (t) => {
  const by = (changes: Partial<HasherSettings>) => makePasswordHasher({ ...cheap, ...changes })
  const [argon2id, django, never] = [by({}), by({ form: 'django' }), by({ rehash: false })]
  t.match(await argon2id.hash('p'), /^\$argon2id\$/)
  t.match(await never.hash('p'), /^\$argon2id\$/)
  const written = await django.hash('p')
  t.match(written, /^pbkdf2_sha256\$600000\$[A-Za-z0-9]{32}\$[A-Za-z0-9+/]{43}=$/)
  t.ok(written.length <= 128, 'it fits into the column that Django makes')
  t.equal(await argon2id.verify('p', written), true)

  const rows: readonly (readonly [digest: string, rehash: { argon2id: boolean; django: boolean }])[] = [
    [await argon2id.hash('p'), { argon2id: false, django: true }],
    ['$argon2id$v=19$m=8,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', { argon2id: true, django: true }],
    ['argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', { argon2id: false, django: false }],
    ['argon2$argon2id$v=19$m=8,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', { argon2id: true, django: false }],
    [written, { argon2id: true, django: false }],
    ['pbkdf2_sha256$1000$salt$hash', { argon2id: true, django: false }],
    ['pbkdf2_sha1$1000$salt$hash', { argon2id: true, django: false }],
    ['scrypt$16384$salt$8$1$hash', { argon2id: true, django: false }],
    ['bcrypt$$2b$12$hash', { argon2id: true, django: false }],
    ['bcrypt_sha256$$2b$12$hash', { argon2id: true, django: false }],
    ['md5$salt$hash', { argon2id: true, django: true }],
    ['sha1$$hash', { argon2id: true, django: true }],
    ['5ebe2294ecd0e0f08eab7690d2a6ee69', { argon2id: true, django: true }]
  ]
  for (const [digest, rehash] of rows) {
    t.same({ argon2id: argon2id.needsRehash(digest), django: django.needsRehash(digest) }, rehash, digest)
    t.equal(never.needsRehash(digest), false)
  }
})

t.test('the form that settings ask for', async (t) => {
  const django = { DATABASE_URL: 'postgres://h/d', SIGNING_KEY: 'x', USERS_TABLE: 'auth_user' }
  const rows: readonly (readonly [env: Record<string, string>, form: HasherSettings['form'], rehash: boolean])[] = [
    [{}, 'argon2id', true],
    [{ PASSWORD_REHASH: 'django' }, 'django', true],
    [{ PASSWORD_REHASH: 'never' }, 'argon2id', false],
    [django, 'django', true],
    [{ ...django, PASSWORD_REHASH: 'never' }, 'django', false],
    [{ ...django, PASSWORD_REHASH: 'argon2id' }, 'argon2id', true]
  ]
  for (const [env, form, rehash] of rows) t.match(hasherSettings(loadConfig(env)), { form, rehash })
})

t.test('an unknown user, an unusable digest and a fast one cost what a wrong password costs', async (t) => {
  const slow = makePasswordHasher({ memory: 16_384, time: 2, parallelism: 1, queue: 1, form: 'argon2id', rehash: true })
  const digests = {
    wrong: await slow.hash('correct horse'),
    unknown: undefined,
    unusable: '!WYcIGUjUTbtkhuUaT8w7z8e1bLXFYbKOoOu5kFQ1',
    malformed: 'pbkdf2_sha256$1000$salt$hash',
    dear: 'pbkdf2_sha256$99999999$salt$qN+JnzxPIE2WfgrWPAkph8EAVeuwF7PZ0ordIY1Peq0=',
    fast: 'md5$salt$2b2c1d1ae5dbd0a5ee1c6b3c0f1b6f3c'
  }
  const timeOf = async (password: string, against: string | undefined): Promise<number> => {
    const start = process.hrtime.bigint()
    t.equal(await slow.verify(password, against), false)
    return Number(process.hrtime.bigint() - start)
  }
  // The least of several, taken in turns, since the machine may be busy. Without the same work the quotient is beyond 100.
  const names = Object.keys(digests) as (keyof typeof digests)[]
  const least = new Map<string, number>()
  const note = (name: string, time: number) => least.set(name, Math.min(least.get(name) ?? Infinity, time))
  for (let round = 0; round < 7; round++) {
    for (const name of names) note(name, await timeOf('wrong', digests[name]))
    note('NUL', await timeOf('wrong\0', digests.wrong))
  }
  const wrong = least.get('wrong') ?? 0
  for (const [name, time] of least) t.ok(time / wrong > 0.1 && time / wrong < 10, `${name}: quotient ${time / wrong}`)
})

t.test('calls beyond the queue are refused at once', async (t) => {
  const small = makePasswordHasher({ memory: 8192, time: 1, parallelism: 1, queue: 1, form: 'argon2id', rehash: true })
  const calls = Array.from({ length: 5 }, () => small.verify('p', undefined))
  const outcomes = await Promise.allSettled(calls)
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
    'two run, one waits'
  )
  await t.rejects(calls[3] as Promise<boolean>, { code: 'BUSY', retryAfter: 1 })
})

import { hash as argon2Hash } from 'argon2'
import fc from 'fast-check'
import t from 'tap'
import { makeArgon2Hasher } from '../../../src/passwords/argon2.ts'

const cheap = { memory: 8, time: 1, parallelism: 1, queue: 64 }
const hasher = makeArgon2Hasher(cheap)

t.test('a password matches its own digest only', async (t) => {
  const digest = await hasher.hash('correct horse')
  t.match(digest, /^\$argon2id\$v=19\$m=8,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.equal(await hasher.verify('correct horse', digest), true)
  t.equal(await hasher.verify('correct horsf', digest), false)
  t.equal(await hasher.verify('', digest), false)
  t.not(await hasher.hash('correct horse'), digest, 'each has its own salt')
})

t.test('nothing is cut, and NUL ends nothing', async (t) => {
  for (const [password, other] of [
    ['a'.repeat(1024), 'a'.repeat(1023)],
    ['secret\0', 'secret'],
    ['secret\0a', 'secret\0b'],
    ['\u{e9}', 'e\u{301}']
  ] as const) {
    const digest = await hasher.hash(password)
    t.equal(await hasher.verify(password, digest), true)
    t.equal(await hasher.verify(other, digest), false)
  }
})

t.test('digests of other costs verify, and are due for another', async (t) => {
  const digest = await argon2Hash('correct horse', { memoryCost: 32, timeCost: 2, parallelism: 2, hashLength: 24 })
  t.equal(await hasher.verify('correct horse', digest), true)
  t.equal(hasher.needsRehash(digest), true)
  t.equal(hasher.needsRehash(await hasher.hash('correct horse')), false)
  for (const other of ['', '!', 'pbkdf2_sha256$1$a$b', '$argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA']) {
    t.equal(hasher.needsRehash(other), true, other)
  }
})

t.test('what is no bounded argon2id digest is refused and never computed', async (t) => {
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

/** Another spelling of the same bytes, in the last characters' unused bits, is no other digest. */
const isSame = (a: string, b: string): boolean => {
  const read = (text: string) =>
    text.split('$').map((part, index) => (index < 4 ? part : Buffer.from(part, 'base64').toString('hex')))
  return read(a).join('$') === read(b).join('$')
}

/** A mangled cost may be allowed and dear: such a digest is right to be computed, but not here. */
const isCheap = (digest: string): boolean => !/m=\d{4,},|t=\d{2,},/.test(digest)

t.test('an unknown user costs what a wrong password costs', async (t) => {
  const slow = makeArgon2Hasher({ memory: 16_384, time: 2, parallelism: 1, queue: 1 })
  const digest = await slow.hash('correct horse')
  const timeOf = async (against: string | undefined): Promise<number> => {
    const start = process.hrtime.bigint()
    t.equal(await slow.verify('wrong', against), false)
    return Number(process.hrtime.bigint() - start)
  }
  // The least of several, taken in turns, since the machine may be busy. Without the same work the quotient is beyond 100.
  const least = { wrong: Infinity, unknown: Infinity, unusable: Infinity }
  for (let round = 0; round < 7; round++) {
    least.wrong = Math.min(least.wrong, await timeOf(digest))
    least.unknown = Math.min(least.unknown, await timeOf(undefined))
    least.unusable = Math.min(least.unusable, await timeOf('!'))
  }
  for (const quotient of [least.wrong / least.unknown, least.wrong / least.unusable]) {
    t.ok(quotient > 0.5 && quotient < 2, `quotient ${quotient}`)
  }
})

t.test('calls beyond the queue are refused at once', async (t) => {
  const small = makeArgon2Hasher({ memory: 8192, time: 1, parallelism: 1, queue: 1 })
  const calls = Array.from({ length: 5 }, () => small.verify('p', undefined))
  const outcomes = await Promise.allSettled(calls)
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
    'two run, one waits'
  )
  await t.rejects(calls[3] as Promise<boolean>, { code: 'BUSY', retryAfter: 1 })
})

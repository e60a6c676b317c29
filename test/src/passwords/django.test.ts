/* Digests that Django wrote, read here; and what is written here, read by Django. */
import fc from 'fast-check'
import t from 'tap'
import { digestToVerify, readDigest } from '../../../src/passwords/digest.ts'
import { makePasswordHasher } from '../../../src/passwords/hasher.ts'
import { checkedByDjango, digestsOfDjango } from '../../support/django.ts'
import { withoutDjango } from '../../support/needs.ts'

const settings = { memory: 8192, time: 1, parallelism: 1, queue: 64 }
const hasher = makePasswordHasher({ ...settings, form: 'argon2id', rehash: true })

const password = 'correct horse \u{e9}\u{1f511}'

/** By the hashers of Django 3.2.25 and 5.2.17, at the least costs they allow, for `password`. */
const digests = {
  pbkdf2: 'pbkdf2_sha256$1000$5LwWfwVdGMJjiO2es7sjrK$L9gqBjrowA/XcLVqrz8hgexqxP+rsgmYD6Z0o9SC2BQ=',
  pbkdf2Later: 'pbkdf2_sha256$1000$r0ofikXIbCIfLB7DeRNk0h$tFsC5dmgE0BzxFMhbRY+qImIQeXCI6/Qx9Acdgn60gU=',
  pbkdf2Sha1: 'pbkdf2_sha1$1000$TE2hpm9mONY3KFkNm2wSBa$Ayi30ck0lnPGUU+xmYhBEcip2Wk=',
  pbkdf2Sha1Later: 'pbkdf2_sha1$1000$8PBL9rF1Kz8cFawnPLLUVY$DJvGJtU2c/ptTjykXS4lHxsT0AM=',
  argon2id: 'argon2$argon2id$v=19$m=64,t=1,p=2$aU5oZWZEWUIxelR6N05tVEY2TTJBNA$JA+Y75hUettMtlEA2Q44rw',
  argon2idLater:
    'argon2$argon2id$v=19$m=64,t=1,p=2$NEF2WElKbWhpOTZNMFR5NXRac1VuVQ$9tG6opQo/6yM4HWqkt/gb+r+2NORexniuE8OQm7OS3k',
  argon2i: 'argon2$argon2i$v=19$m=64,t=1,p=2$OGhxOW9UaTNsU05GMHNXekZRQnB5eg$Jq989e3SnHN40VYc51cQTw',
  argon2d: 'argon2$argon2d$v=19$m=64,t=1,p=2$cTk2ZmdSV2ozTjFHekNFSnhLdG0zSg$WSWdGuGl2YoNFb9bTNoLzQ',
  bcryptSha256: 'bcrypt_sha256$$2b$04$T.DNGkGzN.EDmKa8unWXhOn.fDdxFA5vJj6q1toddsKIUwFexI8qa',
  bcryptSha256Later: 'bcrypt_sha256$$2b$04$poI2ZPebPDLZ/nWFDvudze2VulYslX/eTfGtCI1u6ckwTSmkeV2AS',
  bcrypt: 'bcrypt$$2b$04$vU9dUwbTaJTRdM./BteOMeBzdfrLK4ZRtAVXgnp9gKu/Z/fopWHrW',
  bcryptLater: 'bcrypt$$2b$04$aC932eBi0uGWCYrVeVBZV.0o7.8S5GV.X/DiDUfsN/1gbEtDnPJJC',
  scrypt:
    'scrypt$16$TrcV5oQZeUqCWRUUMJDfgP$8$5$Ec6WWuUAH7IQrzO5djpKtwhu/A+0j/HGrHVqKaHJzuZpNpk7ifUrKKU9kJa+AdXu+5zJAw6SqiYv07bNpt1LTg==',
  md5: 'md5$fOTcJyJpxKnGWU1qEv7Jbg$88848a317001614775d0c6056aeab297',
  md5Unsalted: 'md5$$d2b8207d30636a92fc8d3b39fad83995',
  md5Bare: 'd2b8207d30636a92fc8d3b39fad83995',
  sha1: 'sha1$XPlGjXyWfpovkZUtF4chUv$7e457721e02fe6a28d3b1a142a22c21f05b7c63e',
  sha1Unsalted: 'sha1$$b054e43c41ebe09f0a08c2014aa366520069b0d6'
}
const all = Object.values(digests)

/** The same at Django's own costs. */
const atDjangosCosts =
  'scrypt$16384$2A3szRMI6BQMTHW0MpBy1C$8$5$b7FYh4fwtN/tYCLako9aaozIrJ7xsIZl5U9X6lLKGv+LsMhxNTWyXoGG3Rz0I4zewibTdkk+3ijbcGbSHpiANw=='

t.test('each form that Django writes verifies, for its own password only', async (t) => {
  for (const digest of [...all, atDjangosCosts]) {
    t.equal(await hasher.verify(password, digest), true, digest)
    for (const wrong of [`${password}x`, password.slice(0, -2), '', `${password}\0`, password.normalize('NFD')]) {
      t.equal(await hasher.verify(wrong, digest), false, `${digest} ${JSON.stringify(wrong)}`)
    }
    t.equal(hasher.needsRehash(digest), true)
  }
})

t.test('a salt may be any text', async (t) => {
  const digest = 'pbkdf2_sha256$1000$salt with \u{e9}$GaoMsu8CeyuZ61yKECuTZNTGis2N0AF8mE89a6g0lZg='
  t.equal(await hasher.verify('secret', digest), true)
})

t.test('bcrypt without SHA-256 reads 72 bytes, and it is so in Django', async (t) => {
  const digest = 'bcrypt$$2b$04$D8wuUsVxc1UiyqEZXtVj2ejg5Y/S/U4zkpoQ.GqcXjJcqycpSWDHO'
  t.equal(await hasher.verify('x'.repeat(80), digest), true)
  t.equal(await hasher.verify(`${'x'.repeat(72)}another end`, digest), true)
  t.equal(await hasher.verify('x'.repeat(71), digest), false)
})

t.test('digests that no login can match', async (t) => {
  for (const digest of [
    '',
    '!',
    '!lWsrn1wbiZpBGti08OoHiOnqhg7duLptrbxKzXOj',
    `!${digests.pbkdf2}`,
    'crypt$$90zC1FGeYqwms',
    ` ${digests.pbkdf2}`,
    `${digests.pbkdf2}\n`,
    digests.pbkdf2.slice(0, -1),
    digests.pbkdf2.replace('sha256', 'sha512'),
    digests.pbkdf2.replace('sha256', 'sha1'),
    digests.pbkdf2Sha1.replace('sha1', 'sha256'),
    digests.bcryptSha256.replace('$$2b', '$$2x'),
    'md5$salt$88848a317001614775d0c6056aeab29',
    'sha1$$d2b8207d30636a92fc8d3b39fad83995',
    'b054e43c41ebe09f0a08c2014aa366520069b0d6'
  ]) {
    t.equal(readDigest(digest), undefined, digest)
    t.equal(await hasher.verify(password, digest), false, digest)
  }
})

t.test('no digest may occupy the machine: the last cost that is paid, and the first that is not', async (t) => {
  const pbkdf2 = (iterations: string) => digests.pbkdf2.replace('$1000$', `$${iterations}$`)
  const bcrypt = (rounds: string) => digests.bcryptSha256.replace('$04$', `$${rounds}$`)
  const scrypt = (n: number, r: number, p: number) =>
    digests.scrypt.replace('$16$', `$${n}$`).replace('$8$5$', `$${r}$${p}$`)
  const argon2 = (costs: string) => digests.argon2id.replace('m=64,t=1,p=2', costs)
  for (const [paid, refused] of [
    [pbkdf2('10000000'), pbkdf2('10000001')],
    [pbkdf2('1'), pbkdf2('0')],
    [bcrypt('15'), bcrypt('16')],
    [bcrypt('04'), bcrypt('03')],
    [scrypt(2 ** 18, 8, 4), scrypt(2 ** 18, 8, 5)],
    [scrypt(2 ** 18, 8, 1), scrypt(2 ** 19, 8, 1)],
    [scrypt(2 ** 15, 1, 1), scrypt(2 ** 16, 1, 1)],
    [scrypt(2, 1, 1), scrypt(1, 1, 1)],
    [scrypt(2 ** 10, 8, 1), scrypt(1000, 8, 1)],
    [scrypt(16, 999, 1), scrypt(16, 0, 1)],
    [scrypt(16, 1, 999), scrypt(16, 1, 0)],
    [argon2('m=1048576,t=64,p=16'), argon2('m=1048577,t=64,p=16')],
    [argon2('m=16,t=1,p=2'), argon2('m=15,t=1,p=2')]
  ] as const) {
    t.ok(readDigest(paid), paid)
    t.equal(readDigest(refused), undefined, refused)
    t.equal(await hasher.verify(password, refused), false)
  }
  const edges = [scrypt(2 ** 16, 8, 1), scrypt(2 ** 15, 1, 1), scrypt(2, 1, 1), scrypt(16, 999, 1), scrypt(16, 1, 999)]
  for (const edge of [...edges, pbkdf2('1')])
    t.equal(await hasher.verify(password, edge), false, `computed, and another hash: ${edge}`)
})

t.test('no digest, however mangled, makes it throw or answer true', async (t) => {
  const cheap = makePasswordHasher({ ...settings, memory: 8, form: 'argon2id', rehash: true })
  const mangled = fc
    .tuple(fc.constantFrom(...all), fc.nat(120), fc.nat(6), fc.string({ maxLength: 6 }))
    .map(([digest, at, cut, text]) => digest.slice(0, at) + text + digest.slice(at + cut))
  await fc.assert(
    fc.asyncProperty(mangled, async (text) => isDear(text) || !(await cheap.verify('another', text))),
    { numRuns: 2000 }
  )
  t.pass('2000 of them')
})

/** A mangled cost may be allowed and dear: such a digest is right to be computed, but not here. */
const isDear = (digest: string): boolean =>
  /\$\d{5,}\$|m=\d{4,},|t=\d{2,},|\$(0[5-9]|1\d)\$|^scrypt(?!\$16\$[^$]*\$8\$5\$)/.test(digest)

t.test('a decoy has the costs of its digest, and nothing else of it', async (t) => {
  for (const digest of all) {
    const decoy = readDigest(digest)?.decoy ?? ''
    const read = readDigest(decoy)
    t.equal(read?.decoy, decoy, decoy)
    t.equal(read?.isFast, readDigest(digest)?.isFast)
    t.equal(await hasher.verify(password, decoy), false)
    t.notMatch(decoy, readDigest(digest)?.hash ?? '', 'not its hash')
    const costs = (text: string) =>
      text
        .split('$')
        .filter((part) => part.length < 20)
        .join('$')
    if (digest.includes('$') && !digest.includes('$$')) t.equal(costs(decoy), costs(digest))
  }
  t.equal(readDigest(digests.pbkdf2)?.decoy, `pbkdf2_sha256$1000$${'a'.repeat(22)}$${'a'.repeat(43)}=`)
  t.equal(readDigest(digests.bcryptSha256)?.decoy, `bcrypt_sha256$$2b$04$${'a'.repeat(22 + 31)}`)
})

t.test('what a password is verified against', async (t) => {
  const [own, other] = [digests.pbkdf2, digests.argon2id]
  const decoy = readDigest(other)?.decoy
  t.equal(digestToVerify(own, [other]), own)
  t.equal(digestToVerify(undefined, [other, own]), decoy)
  t.equal(digestToVerify('!', [other]), decoy)
  t.equal(digestToVerify('!', ['!', 'crypt$$90zC1FGeYqwms', other]), decoy, 'the first that can be read')
  t.equal(digestToVerify('!', ['!']), undefined)
  t.equal(digestToVerify(undefined, []), undefined)
})

t.test('with Django itself', { skip: withoutDjango(), timeout: 120_000 }, async (t) => {
  const made = digestsOfDjango(password)
  for (const name of ['pbkdf2_sha256', 'pbkdf2_sha1', 'argon2', 'bcrypt', 'bcrypt_sha256', 'md5'])
    t.ok(made[name], name)
  const django = makePasswordHasher({ ...settings, form: 'django', rehash: true })
  const written: string[] = []
  for (const [name, digest] of Object.entries(made)) {
    t.equal(await django.verify(password, digest), true, digest)
    t.equal(await django.verify('another', digest), false, digest)
    t.equal(django.needsRehash(digest), /^(md5|sha1|unsalted_)/.test(name), 'fast digests are rehashed')
    if (django.needsRehash(digest)) written.push(await django.hash(password))
  }
  written.push(await django.hash('x'.repeat(1024)))
  t.same(
    checkedByDjango(written.flatMap((digest) => [password, 'x'.repeat(1024)].map((each) => [each, digest] as const))),
    written.flatMap((_, index) => (index < written.length - 1 ? [true, false] : [false, true])),
    'a Django without any package reads what was written'
  )
  const argon2 = made.argon2 ?? ''
  t.throws(() => checkedByDjango([[password, argon2]]), /Couldn't load 'Argon2PasswordHasher'/, 'and no argon2')
})

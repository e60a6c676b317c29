/* The keyring over real stores and real commands: two hosts on one database, sealing, and every form of key. */
import { execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Environment, loadConfig } from '../../../src/config/load.ts'
import type { AlgorithmName } from '../../../src/keys/algorithms.ts'
import { checkSigningKey, importPrivateKey, importSigningKey } from '../../../src/keys/import.ts'
import { publicJwk } from '../../../src/keys/jwk.ts'
import type { Key } from '../../../src/keys/key.ts'
import {
  type Keyring,
  type KeyringOptions,
  openKeyring,
  publishNext,
  rotationPolicy
} from '../../../src/keys/keyring.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import type { SqlDatabase } from '../../../src/stores/sql/connection.ts'
import { makeKeyStore } from '../../../src/stores/sql/keys.ts'
import { migrate } from '../../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../../src/stores/sql/postgres.ts'
import { makeManualClock } from '../../../src/time.ts'
import { makeCertificate } from '../../support/forger.ts'
import { aDataDir, type Finished, runKeyturn } from '../../support/keyturn.ts'
import { needsPostgres, withoutPostgres } from '../../support/needs.ts'

const secret = 'a secret of at least 32 characters'
const config = loadConfig({ JWKS_MAX_AGE: '10s', ACCESS_TOKEN_LIFETIME: '60s' })
const { publishAhead, keepRetired, interval } = rotationPolicy(config)

/** Two hosts: each its own connections, one database. */
async function rotationSuite(t: Test, databases: readonly [SqlDatabase, SqlDatabase]): Promise<void> {
  // SQLite blocks its process while another connection writes: of two in one process, one would wait for itself.
  const atOnce = databases[0].dialect === 'postgres'
  const clock = makeManualClock()
  const options = databases.map(
    (db): KeyringOptions => ({ store: makeKeyStore(db), secret, previousSecret: undefined, clock })
  )
  const [here, there] = options as [KeyringOptions, KeyringOptions]
  const [a, b] = await Promise.all([openKeyring(config, here), openKeyring(config, there)])
  const kids = ({ keys }: Keyring) => ({
    signing: keys().signing.kid,
    verifying: keys()
      .verifying.map(({ kid }) => kid)
      .toSorted()
  })
  const together = async (...works: readonly (() => Promise<unknown>)[]): Promise<void> => {
    if (atOnce) await Promise.all(works.map((work) => work()))
    else for (const work of works) await work()
  }
  const look = () => together(a.update, b.update, a.update, b.update, a.update, b.update)
  const access = async () => (await here.store.list()).filter(({ purpose }) => purpose === 'access')
  const first = kids(a).signing
  t.same(kids(b), kids(a), 'both start with the same key')
  t.same(a.keys().jtiSecret, b.keys().jtiSecret)

  clock.advance(interval - publishAhead)
  await look()
  const published = await access()
  t.equal(published.length, 2, 'of six that publish at once, one did')
  const next = published.find(({ state }) => state === 'next')!.kid
  t.same(kids(a), { signing: first, verifying: [first, next].toSorted() }, 'published, and not signing yet')
  t.same(kids(b), kids(a))

  clock.advance(publishAhead - 1)
  await look()
  t.equal(kids(a).signing, first, 'not a second early')
  clock.advance(1)
  await look()
  t.same(kids(a), { signing: next, verifying: [first, next].toSorted() })
  t.same(kids(b), kids(a), 'both follow')
  t.match(
    (await access()).find(({ kid }) => kid === first),
    { state: 'retired', retiredAt: clock() }
  )
  t.equal(await a.update(), false, 'nothing more to do')

  clock.advance(keepRetired - 1)
  await look()
  t.same(kids(b).verifying, [first, next].toSorted(), 'a retired key verifies until its last token has expired')
  clock.advance(1)
  t.equal(await a.update(), true, 'a change is reported')
  t.equal(await b.update(), true, 'to each that has not seen it')
  t.same(
    [kids(a), kids(b)],
    [
      { signing: next, verifying: [next] },
      { signing: next, verifying: [next] }
    ]
  )

  const publish = (options: KeyringOptions) => () => publishNext(options)
  await together(publish(here), publish(there), publish(here), publish(there))
  t.equal((await access()).length, 2, 'operators who rotate at once publish one key')
  clock.advance(publishAhead)
  await together(a.update, publish(there), b.update, publish(here))
  const states = (await access()).map(({ state }) => state).toSorted()
  t.ok(['active,retired', 'active,next,retired'].includes(states.join()), `while a worker rotates: ${states}`)

  const before = kids(a)
  await databases[0].close()
  await t.rejects(a.update(), 'an unreachable store is reported')
  t.same(kids(a), before, 'and the keys stay')
}

t.test('two hosts on one embedded file', async (t) => {
  const folder = aDataDir(t)
  const open = (): SqlDatabase => openEmbedded(folder)
  const databases = [open(), open()] as const
  t.teardown(() => databases[1].close())
  await migrate(databases[0])
  await rotationSuite(t, databases)
})

t.test('two hosts on one PostgreSQL', { skip: withoutPostgres() }, async (t) => {
  const { url } = await needsPostgres(t)
  const databases = [openPostgres(url), openPostgres(url)] as const
  t.teardown(() => databases[1].close())
  await migrate(databases[0])
  await rotationSuite(t, databases)
})

t.test('what is sealed', async (t) => {
  const db = openEmbedded(aDataDir(t))
  t.teardown(() => db.close())
  await migrate(db)
  const store = makeKeyStore(db)
  const options = { store, clock: makeManualClock(), previousSecret: undefined }
  const { keys } = await openKeyring(config, { ...options, secret })
  const other = 'another secret of 32 characters or more'
  const fault = {
    name: 'ConfigError',
    message: /^KEY_ENCRYPTION_SECRET: cannot decrypt [^\n]*KEY_ENCRYPTION_SECRET_PREVIOUS\./
  }
  await t.rejects(openKeyring(config, { ...options, secret: other }), fault)
  await t.rejects(openKeyring(config, { ...options, secret: other, previousSecret: 'x'.repeat(32) }), fault)
  const opened = await openKeyring(config, { ...options, secret: other, previousSecret: secret })
  t.same(opened.keys(), keys(), 'by the former secret')
  for (const { sealed } of await store.list()) {
    t.notMatch(Buffer.from(sealed, 'base64url').toString('latin1'), /PRIVATE KEY/)
    t.notOk(sealed.includes(keys().refresh.privateText))
  }
})

t.test('the commands', async (t) => {
  const env: Record<string, string> = { DATA_DIR: aDataDir(t), KEY_ENCRYPTION_SECRET: secret, JWKS_MAX_AGE: '10s' }
  const keys = async (args: string, more: Record<string, string> = {}, input = ''): Promise<Finished> =>
    await runKeyturn(['keys', ...args.split(' ')], { ...env, ...more }, input)
  const list = async (more: Record<string, string> = {}): Promise<Record<string, string>[]> => {
    const { stdout } = await keys('list --json', more)
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  const [first] = (await list()) as [Record<string, string>]
  t.match(first, { algorithm: 'ES256', state: 'active', kid: /^[\w-]{8}$/, published_at: /Z$/, activated_at: /Z$/ })
  t.match(await keys('list'), { code: 0, stdout: new RegExp(`^kid .*\\n${first.kid} +ES256 +active `) })

  const rotated = await keys('rotate')
  t.match(rotated, { code: 0, stdout: /^[\w-]{8}\n$/, stderr: /published and signs from .*Z on/ })
  t.equal((await keys('rotate')).stdout, rotated.stdout, 'again before it signs: the same one')
  const next = rotated.stdout.trim()
  t.match(await list(), [
    { kid: first.kid, state: 'active' },
    { kid: next, state: 'next' }
  ])

  const pem = (await keys(`export ${next} --private`)).stdout
  t.match(pem, /^-----BEGIN PRIVATE KEY-----/)
  t.match((await keys(`export ${next}`)).stdout, /^-----BEGIN PUBLIC KEY-----/)
  const exported = JSON.parse((await keys(`export ${next} --jwk`)).stdout)
  t.same(exported, publicJwk(importPrivateKey(pem, 'ES256')), 'nothing private in a JWK')
  t.match(await keys(`export ${next} --jwk --private`), { code: 1, stdout: '' })
  t.match(await keys('export unknown'), { code: 1, stdout: '', stderr: /key "unknown" does not exist/ })

  const active = (await keys(`export ${first.kid} --private`)).stdout
  t.match(
    await keys('import', {}, active),
    { code: 1, stdout: '', stderr: /already in the keyring/ },
    'a key that is there'
  )
  t.match(await keys('import', {}, newKey('P-256')), { code: 1, stderr: /already has a next key/ })
  t.match(await keys(`retire ${first.kid}`), { code: 1, stderr: /is active\. Replace it first with keys rotate --now/ })
  t.match(await keys(`retire ${next}`), { code: 0, stdout: '' })
  t.match(await keys('import', {}, newKey('P-384')), {
    code: 1,
    stderr: /^The key: got an ec key on secp384r1, expected/
  })
  t.match(await keys('import --algorithm HS256', {}, 'x'.repeat(32)), {
    code: 1,
    stderr: /expected an algorithm of a key pair/
  })
  t.match(await keys('import --algorithm XS1', {}, pem), { code: 1, stderr: /^XS1: expected one of HS256/ })
  const imported = await keys('import --algorithm ES384', {}, newKey('P-384'))
  t.match(imported, { code: 0, stdout: /^[\w-]{8}\n$/ })
  t.match(await list(), [{ state: 'active' }, { kid: imported.stdout.trim(), algorithm: 'ES384', state: 'next' }])
  t.match(await keys('rotate --now'), { code: 0, stdout: imported.stdout, stderr: /signs from now on/ })
  t.match(await list(), [{ kid: first.kid, state: 'retired', retired_at: /Z$/ }, { state: 'active' }])

  const changed = { KEY_ENCRYPTION_SECRET: 'another secret of 32 characters or more' }
  t.match(await keys('list', changed), { code: 78, stdout: '', stderr: /^KEY_ENCRYPTION_SECRET: cannot decrypt/ })
  const both = { ...changed, KEY_ENCRYPTION_SECRET_PREVIOUS: secret }
  t.equal((await list(both)).length, 2)
  t.match(await keys('reseal', both), { code: 0, stderr: /^Encrypted 3 keys/ }, 'the internal one too')
  t.equal((await list(changed)).length, 2, 'the former secret is not needed any more')
  t.match(await keys('list'), { code: 78 }, 'and opens nothing')

  const fixed = { ...changed, SIGNING_KEY: 'y'.repeat(32) }
  t.match(await keys('list', fixed), { code: 1, stderr: /SIGNING_KEY is set/ })
  const again = {
    ...fixed,
    KEY_ENCRYPTION_SECRET: secret,
    KEY_ENCRYPTION_SECRET_PREVIOUS: changed.KEY_ENCRYPTION_SECRET
  }
  t.match(
    await keys('reseal', again),
    { code: 0, stderr: /^Encrypted 3 keys/ },
    'with SIGNING_KEY there is a sealed key as well'
  )
  t.equal((await list()).length, 2)
})

/** A private key in PEM: on a curve, or RSA of so many bits. */
const newKey = (kind: string | number): string => toPem(makePair(kind))
const makePair = (kind: string | number): KeyObject =>
  typeof kind === 'number'
    ? generateKeyPairSync('rsa', { modulusLength: kind }).privateKey
    : kind.startsWith('Ed')
      ? generateKeyPairSync(kind.toLowerCase() as 'ed25519').privateKey
      : generateKeyPairSync('ec', { namedCurve: kind }).privateKey
const toPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string
const jwkOf = (pem: string, more: object = {}) => ({ ...createPrivateKey(pem).export({ format: 'jwk' }), ...more })

const load = (signingKey: string, algorithm: AlgorithmName, verifyingKey?: string): Key =>
  importSigningKey({ signingKey, algorithm, verifyingKey, production: true }) as Key

t.test('a certificate as VERIFYING_KEY', async (t) => {
  for (const [kind, algorithm] of [
    ['P-256', 'ES256'],
    ['Ed25519', 'EdDSA'],
    [2048, 'PS256']
  ] as const) {
    const privateKey = makePair(kind)
    const certificate = makeCertificate(privateKey)
    const file = join(aDataDir(t), 'certificate.pem')
    writeFileSync(file, certificate)
    const text = execFileSync('openssl', ['x509', '-in', file, '-noout', '-fingerprint', '-sha256'], {
      encoding: 'utf8'
    })
    const print = Buffer.from(text.replace(/^.*=/, '').replaceAll(/[:\s]/g, ''), 'hex').toString('base64url')
    const jwk = publicJwk(load(toPem(privateKey), algorithm, certificate))
    t.match(jwk, { 'x5t#S256': print, alg: algorithm, use: 'sig' }, `${algorithm} as openssl has it`)
    t.same(publicJwk(load(toPem(privateKey), algorithm, certificate.replaceAll('\n', '\\n'))), jwk, 'on one line')
    t.notOk('x5t#S256' in publicJwk(load(toPem(privateKey), algorithm))!, 'without a certificate there is no print')
    t.throws(() => load(newKey(kind), algorithm, certificate), /^VERIFYING_KEY: got a different key/, "somebody else's")
  }
})

t.test('JWK and JWKS', async (t) => {
  const [ec, other, rsa, ed] = [newKey('P-256'), newKey('P-256'), newKey(2048), newKey('Ed25519')]
  const whole = load(ec, 'ES256')
  t.same(load(JSON.stringify(jwkOf(ec)), 'ES256'), whole, 'the same key, and so the same kid')
  t.same(load(`\n ${JSON.stringify(jwkOf(ec, { use: 'sig' }), null, 2)}`, 'ES256'), whole)
  t.equal(load(JSON.stringify(jwkOf(ec, { kid: 'mine' })), 'ES256').kid, 'mine', 'its own name is kept')
  t.equal(load(JSON.stringify(jwkOf(ec, { kid: '' })), 'ES256').kid, whole.kid)
  t.same(load(JSON.stringify(jwkOf(ed)), 'EdDSA'), load(ed, 'EdDSA'))
  const set = (...keys: unknown[]): string => JSON.stringify({ keys })
  t.same(load(set(null, 5, jwkOf(rsa), jwkOf(ec), jwkOf(other)), 'ES256'), whole, 'the first that is for ALGORITHM')
  t.same(load(set(jwkOf(rsa, { alg: 'RS256' }), jwkOf(rsa, { alg: 'PS512' })), 'PS512'), load(rsa, 'PS512'))
  t.same(load(set(jwkOf(other, { alg: 'ES384' }), jwkOf(ec, { alg: 'ES256' })), 'ES256'), whole)
  const shown = publicJwk(whole) as unknown as Record<string, unknown>
  t.same(load(ec, 'ES256', JSON.stringify(shown)), whole, 'a public JWK as VERIFYING_KEY')
  t.same(load(ec, 'ES256', set(jwkOf(rsa), shown)), whole)

  const bytes = randomBytes(64)
  const oct = (k: Buffer, more: object = {}) => JSON.stringify({ kty: 'oct', k: k.toString('base64url'), ...more })
  t.same(
    load(oct(Buffer.from(`${'t'.repeat(40)}abcdefgh`)), 'HS256'),
    load(`${'t'.repeat(40)}abcdefgh`, 'HS256'),
    'a text in a JWK'
  )
  t.match(
    load(oct(bytes), 'HS512'),
    { secretBytes: bytes, privateText: bytes.toString('base64url') },
    'bytes that are not UTF-8'
  )
  t.not(load(oct(bytes), 'HS512').kid, load(oct(randomBytes(64)), 'HS512').kid)
  t.equal(publicJwk(load(oct(bytes), 'HS512')), undefined, 'and a secret is not shown')
})

t.test('a key that cannot be is refused with one line', async (t) => {
  const [ec, rsa, p384] = [newKey('P-256'), newKey(2048), newKey('P-384')]
  const oct = (length: number) => JSON.stringify({ kty: 'oct', k: randomBytes(length).toString('base64url') })
  const rows: readonly (readonly [env: Environment, fault: RegExp])[] = [
    [{ SIGNING_KEY: 'x'.repeat(31) }, /got 31 bytes, expected at least 32 for HS256/],
    [{ SIGNING_KEY: 'é'.repeat(23), ALGORITHM: 'HS384' }, /got 46 bytes, expected at least 48 for HS384/],
    [{ SIGNING_KEY: oct(31) }, /got 31 bytes, expected at least 32/],
    [{ SIGNING_KEY: oct(63), ALGORITHM: 'HS512' }, /got 63 bytes, expected at least 64/],
    [{ SIGNING_KEY: '{"kty":"oct"}' }, /got a JWK without k/],
    [
      { SIGNING_KEY: newKey(1024), ALGORITHM: 'RS256' },
      /got an rsa key of 1024 bits, expected at least 2048 for RS256/
    ],
    [{ SIGNING_KEY: newKey(2040), ALGORITHM: 'PS512' }, /2040 bits, expected at least 2048 for PS512/],
    [{ SIGNING_KEY: JSON.stringify(jwkOf(newKey(1024))), ALGORITHM: 'RS256' }, /1024 bits/],
    [{ SIGNING_KEY: p384, ALGORITHM: 'ES256' }, /got an ec key on secp384r1, expected one on prime256v1 for ES256/],
    [{ SIGNING_KEY: newKey('secp256k1'), ALGORITHM: 'ES256' }, /got an ec key on secp256k1/],
    [{ SIGNING_KEY: rsa, ALGORITHM: 'ES256' }, /got an rsa key, expected an ec one for ES256/],
    [{ SIGNING_KEY: ec, ALGORITHM: 'RS256' }, /got an ec key, expected an rsa one for RS256/],
    [{ SIGNING_KEY: newKey('Ed448'), ALGORITHM: 'EdDSA' }, /got an ed448 key, expected an ed25519 one for EdDSA/],
    [{ SIGNING_KEY: ec }, /got an asymmetric key, expected a secret for HS256 \(or set ALGORITHM/],
    [{ SIGNING_KEY: JSON.stringify(jwkOf(ec)) }, /got a JWK of type EC, expected one for HS256/],
    [
      { SIGNING_KEY: JSON.stringify(jwkOf(rsa, { alg: 'RS256' })), ALGORITHM: 'PS256' },
      /got a JWK for RS256, expected one for PS256/
    ],
    [{ SIGNING_KEY: oct(32), ALGORITHM: 'ES256' }, /got a JWK of type oct, expected one for ES256/],
    [{ SIGNING_KEY: JSON.stringify({ keys: [jwkOf(rsa)] }), ALGORITHM: 'ES256' }, /got a JWKS without a key for ES256/],
    [{ SIGNING_KEY: '{"keys":[]}', ALGORITHM: 'ES256' }, /got a JWKS without a key/],
    [
      { SIGNING_KEY: JSON.stringify(publicJwk(load(ec, 'ES256'))), ALGORITHM: 'ES256' },
      /expected a private key in PEM/
    ],
    [{ SIGNING_KEY: '{"kty":"EC"', ALGORITHM: 'ES256' }, /got text that is not a key, expected a private key in PEM/],
    [{ SIGNING_KEY: 'x'.repeat(64), ALGORITHM: 'ES256' }, /got text that is not a key, expected a private key in PEM/],
    [{ SIGNING_KEY: ec, ALGORITHM: 'ES256', VERIFYING_KEY: newKey('P-256') }, /VERIFYING_KEY: got a different key/],
    [
      { SIGNING_KEY: ec, ALGORITHM: 'ES256', VERIFYING_KEY: 'x' },
      /VERIFYING_KEY: got text that is not a key, expected a public key/
    ],
    [{ SIGNING_KEY: ec, ALGORITHM: 'ES256', VERIFYING_KEY: oct(32) }, /VERIFYING_KEY: got a JWK of type oct/],
    [{ ALGORITHM: 'RS256' }, /SIGNING_KEY: not set, expected a key for ALGORITHM=RS256/],
    [{ SIGNING_KEY: 'django-insecure-0123456789abcdefghijk', NODE_ENV: 'production' }, /easily guessed/],
    [{ SIGNING_KEY: 'ab'.repeat(16), NODE_ENV: 'production' }, /easily guessed/],
    [{ SIGNING_KEY: JSON.stringify({ kty: 'oct', k: 'A'.repeat(86) }), NODE_ENV: 'production' }, /easily guessed/]
  ]
  for (const [env, fault] of rows) {
    try {
      loadConfig(env, checkSigningKey)
      t.fail(`${fault}: taken`)
    } catch (error) {
      const { faults } = error as { faults: readonly string[] }
      t.match(faults, [fault], String(fault))
      t.notMatch(faults.join(), /\n/, 'one line')
      t.equal(faults.length, 1)
      t.notOk(env.SIGNING_KEY !== undefined && faults.join().includes(env.SIGNING_KEY), 'the key is not printed')
    }
  }
})

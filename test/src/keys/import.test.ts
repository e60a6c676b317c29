import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import * as jose from 'jose'
import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { type AlgorithmName, algorithms } from '../../../src/keys/algorithms.ts'
import { checkSigningKey, importSigningKey } from '../../../src/keys/import.ts'
import { generateKey, kidOf, secretKey } from '../../../src/keys/key.ts'

const toPem = (pair: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }) => ({
  privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string
})
const onCurve = (namedCurve: string) => toPem(generateKeyPairSync('ec', { namedCurve }))
const pairs = {
  rsa: toPem(generateKeyPairSync('rsa', { modulusLength: 2048 })),
  weak: toPem(generateKeyPairSync('rsa', { modulusLength: 1024 })),
  p256: onCurve('P-256'),
  p384: onCurve('P-384'),
  p521: onCurve('P-521'),
  k256: onCurve('secp256k1'),
  ed25519: toPem(generateKeyPairSync('ed25519')),
  ed448: toPem(generateKeyPairSync('ed448'))
}
type PairName = keyof typeof pairs

const load = (signingKey: string | undefined, algorithm?: AlgorithmName, verifyingKey?: string, production = false) =>
  importSigningKey({ signingKey, algorithm, verifyingKey, production })

t.test('every algorithm takes its key, and jose agrees on the kid', async (t) => {
  const fitting: Readonly<Partial<Record<AlgorithmName, PairName>>> = {
    RS256: 'rsa',
    RS384: 'rsa',
    RS512: 'rsa',
    PS256: 'rsa',
    PS384: 'rsa',
    PS512: 'rsa',
    ES256: 'p256',
    ES384: 'p384',
    ES512: 'p521',
    EdDSA: 'ed25519'
  }
  for (const [algorithm, row] of Object.entries(algorithms) as [AlgorithmName, (typeof algorithms)[AlgorithmName]][]) {
    const name = fitting[algorithm]
    if (name === undefined) {
      t.equal(row.keyType, 'secret')
      const secret = 'x'.repeat(64)
      t.match(load(secret, algorithm), { algorithm, privateText: secret, publicText: secret }, algorithm)
      continue
    }
    const { privateKey, publicKey } = pairs[name]
    const key = load(privateKey, algorithm)
    t.match(key, { algorithm, privateText: privateKey, publicText: publicKey }, algorithm)
    const thumbprint = await jose.calculateJwkThumbprint(
      await jose.exportJWK(await jose.importSPKI(publicKey, algorithm))
    )
    t.equal(key?.kid, thumbprint.slice(0, 8))
  }
})

t.test('without a key there is none, and without an algorithm it is HS256', async (t) => {
  t.equal(load(undefined), undefined)
  t.match(load('s'.repeat(32)), { algorithm: 'HS256' })
})

t.test('a PEM is taken as environment files hold it', async (t) => {
  const { privateKey, publicKey } = pairs.p256
  const whole = load(privateKey, 'ES256')
  t.same(load(privateKey.replaceAll('\n', '\\n'), 'ES256'), whole)
  t.same(load(privateKey, 'ES256', publicKey.replaceAll('\n', '\\n')), whole)
  t.same(load(privateKey.replaceAll('\n', '\r\n'), 'ES256'), whole)
  t.same(load(privateKey.replaceAll('\n', '\\r\\n'), 'ES256'), whole, 'with \\r\\n written out')
  const sec1 = createPrivateKey(privateKey).export({ type: 'sec1', format: 'pem' }) as string
  t.same(load(sec1, 'ES256'), whole, 'another encoding becomes PKCS#8')
})

t.test('a secret that begins with a brace is a secret unless it parses as a JWK', async (t) => {
  for (const secret of [`{${'s'.repeat(40)}`, '{"password":"0123456789abcdef0123456789"}', ` {${'s'.repeat(40)}}`])
    t.match(load(secret), { algorithm: 'HS256', privateText: secret }, secret)
  const k = Buffer.from('s'.repeat(40)).toString('base64url')
  t.match(load(JSON.stringify({ kty: 'oct', k })), { privateText: 's'.repeat(40) })
  t.throws(() => load('{"kty":"oct","k":7}'), { message: /^SIGNING_KEY: got a JWK without k/ })
})

t.test('an RSA key whose public exponent is 1 or even is refused', async (t) => {
  const jwk = createPrivateKey(pairs.rsa.privateKey).export({ format: 'jwk' })
  for (const [exponent, text] of [
    [1, 'AQ'],
    [2, 'Ag'],
    [65_536, 'AQAA']
  ] as const) {
    const key = JSON.stringify({ ...jwk, e: text })
    t.throws(() => load(key, 'RS256'), {
      message: `SIGNING_KEY: got an rsa key with the public exponent ${exponent}, expected an odd one of at least 3 for RS256.`
    })
  }
})

t.test('each wrong key has a fault line', async (t) => {
  const faults = checkSigningKey(loadConfig({ SIGNING_KEY: 'short', SIGNING_KEY_PREVIOUS: 'short too' }))
  t.match(faults, [/^SIGNING_KEY: got 5 bytes/, /^SIGNING_KEY_PREVIOUS: got 9 bytes/])
})

t.test('a key that is weak, of the wrong type or curve, or not its own pair is refused', async (t) => {
  for (const [signingKey, algorithm, fault] of [
    ['x'.repeat(31), 'HS256', /got 31 bytes, expected at least 32 for HS256/],
    ['x'.repeat(47), 'HS384', /got 47 bytes, expected at least 48/],
    ['x'.repeat(63), 'HS512', /got 63 bytes, expected at least 64/],
    [pairs.p256.privateKey, 'HS256', /got an asymmetric key, expected a secret for HS256/],
    [pairs.rsa.publicKey, 'HS256', /got an asymmetric key/],
    [pairs.weak.privateKey, 'RS256', /got an rsa key of 1024 bits, expected at least 2048/],
    [pairs.p256.privateKey, 'RS256', /got an ec key, expected an rsa one/],
    [pairs.rsa.privateKey, 'ES256', /got an rsa key, expected an ec one/],
    [pairs.p384.privateKey, 'ES256', /an ec key on secp384r1, expected one on prime256v1/],
    [pairs.p256.privateKey, 'ES512', /on prime256v1, expected one on secp521r1/],
    [pairs.k256.privateKey, 'ES256', /on secp256k1, expected one on prime256v1/],
    [pairs.ed448.privateKey, 'EdDSA', /an ed448 key, expected an ed25519 one/],
    [pairs.p256.publicKey, 'ES256', /not a key, expected a private key in PEM/],
    ['not a key', 'ES256', /not a key, expected a private key/]
  ] as const) {
    t.throws(() => load(signingKey, algorithm), { message: fault }, `${algorithm} ${fault}`)
    t.throws(() => load(signingKey, algorithm), { message: /^SIGNING_KEY: .*\.$/ })
  }
  const { privateKey } = pairs.p256
  t.throws(() => load(privateKey, 'ES256', pairs.p384.publicKey), { message: /^VERIFYING_KEY: got a different key/ })
  t.throws(() => load(privateKey, 'ES256', 'no'), { message: /^VERIFYING_KEY: got text that is not a key/ })
})

t.test('no refusal tells the key', async (t) => {
  for (const [signingKey, algorithm] of [
    ['a short secret', 'HS256'],
    ['a short secret', 'ES256'],
    [pairs.weak.privateKey, 'RS256']
  ] as const) {
    const error = t.throws(() => load(signingKey, algorithm)) as Error
    t.notOk(error.message.includes(signingKey.slice(30, 60) || signingKey))
    t.notOk(error.message.includes('short secret'))
  }
})

t.test('a secret that is easily guessed is refused in production', async (t) => {
  for (const secret of [`django-insecure-${'k3y'.repeat(20)}`, 'ab'.repeat(40)]) {
    t.ok(load(secret, 'HS256'))
    t.throws(() => load(secret, 'HS256', undefined, true), { message: /^SIGNING_KEY: .* easily guessed/ })
  }
  t.ok(load('0123456789abcdef0123456789abcdef', 'HS256', undefined, true))
})

t.test('the configuration is checked with the same words', async (t) => {
  t.same(checkSigningKey(loadConfig({})), [])
  t.same(checkSigningKey(loadConfig({ ALGORITHM: 'ES256' })), [])
  t.match(checkSigningKey(loadConfig({ ALGORITHM: 'RS256' })), [
    /^SIGNING_KEY: not set, expected a key for ALGORITHM=RS256/
  ])
  t.match(checkSigningKey(loadConfig({ SIGNING_KEY: 'short' })), [/^SIGNING_KEY: got 5 bytes/])
  t.throws(() => loadConfig({ SIGNING_KEY: 'short' }, checkSigningKey), { name: 'ConfigError' })
})

t.test('a kid is short, stable, and tells keys apart', async (t) => {
  const key = generateKey()
  t.match(key.kid, /^[A-Za-z0-9_-]{8}$/)
  t.equal(kidOf(key.publicText), key.kid)
  t.not(generateKey().kid, key.kid)
  const secret = secretKey('s'.repeat(32), 'HS256')
  t.match(secret.kid, /^[A-Za-z0-9_-]{8}$/)
  t.equal(secretKey('s'.repeat(32), 'HS256').kid, secret.kid)
  t.not(secretKey('t'.repeat(32), 'HS256').kid, secret.kid)
})

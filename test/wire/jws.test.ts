/*
 * The codec against the signature examples of the RFCs, and against jose for every algorithm.
 *
 * Where an example's payload is a JSON object (RFC 7515 A.1 to A.3) the codec itself reads it, under the RFC's key as
 * SIGNING_KEY. The others sign a sentence or a word, which is not a token: the codec must refuse them, so the imported key is
 * tried on their signature by node:crypto, and then signs a token through the codec, which jose reads under the RFC's key.
 */
import { createHmac, createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import * as jose from 'jose'
import t, { type Test } from 'tap'
import type { Environment } from '../../src/config/load.ts'
import { type AlgorithmName, algorithms, isSecretAlgorithm } from '../../src/keys/algorithms.ts'
import { importSigningKey } from '../../src/keys/import.ts'
import { publicJwk } from '../../src/keys/jwk.ts'
import type { Key } from '../../src/keys/key.ts'
import { essence, thumbprint } from '../../src/keys/thumbprint.ts'
import { openCodec as open } from '../support/codec.ts'
import { signatureExamples, thumbprintExamples } from '../fixtures/jws.ts'
import { decodePart, isSignatureOf, makeKeyPair, signatureOf } from '../support/forger.ts'

const names = Object.keys(algorithms) as AlgorithmName[]

async function openCodec(t: Test, env: Environment): Promise<FastifyInstance> {
  const app = await open(env)
  t.teardown(() => app.close())
  return app
}

/** The public half of a JWK, or the secret itself. */
const verifyingKey = (jwk: { kty?: string; k?: string }): KeyObject =>
  jwk.kty === 'oct'
    ? createSecretKey(Buffer.from(jwk.k ?? '', 'base64url'))
    : createPublicKey(createPrivateKey({ key: jwk, format: 'jwk' }))

for (const { source, algorithm, jwk, token, claims, isDeterministic } of signatureExamples) {
  t.test(`${source}, ${algorithm}`, async (t) => {
    const env = { SIGNING_KEY: JSON.stringify(jwk), ALGORITHM: algorithm }
    const { codec, keyring } = await openCodec(t, env)
    if (claims !== undefined) t.same(codec.read(token), claims, 'the codec reads it')
    else
      t.throws(
        () => codec.read(token),
        { code: 'TOKEN_INVALID', detail: 'FAST_JWT_MALFORMED' },
        'the codec wants an object'
      )

    const { signing } = keyring.keys()
    if (jwk.kid !== undefined) t.equal(signing.kid, jwk.kid, 'the key keeps the name it came with')
    const [head, body, signature] = token.split('.') as [string, string, string]
    const input = `${head}.${body}`
    const [privateKey, publicKey] = keyObjects(signing)
    t.ok(isSignatureOf(algorithm, publicKey, input, Buffer.from(signature, 'base64url')), 'the signature is its own')
    t.notOk(isSignatureOf(algorithm, publicKey, `${input}x`, Buffer.from(signature, 'base64url')))
    const again = signatureOf(algorithm, privateKey, input).toString('base64url')
    if (isDeterministic) t.equal(again, signature, 'made again it is the same')
    else t.not(again, signature)

    const made = codec.sign('access', { exp: 4_000_000_000, iat: 1, jti: 'x' })
    const read = await jose.jwtVerify(made, verifyingKey(jwk), { algorithms: [algorithm] })
    t.match(read.payload, { exp: 4_000_000_000, iat: 1, jti: 'x' }, 'jose reads what it signs')
    t.same(read.protectedHeader, { alg: algorithm, typ: 'JWT', kid: signing.kid })
    const shown = publicJwk(signing)
    const { kty = '', n, e, crv, x, y } = jwk as Record<string, string>
    const expected = { RSA: { kty, n, e }, EC: { kty, crv, x, y }, OKP: { kty, crv, x } }[kty]
    t.same(
      shown,
      expected && { ...expected, kid: signing.kid, alg: algorithm, use: 'sig' },
      'shown without its private half'
    )
  })
}

/** A key as node:crypto has it: the private half, and the public one. */
function keyObjects({ algorithm, privateText, publicText, secretBytes }: Key): [KeyObject, KeyObject] {
  if (!isSecretAlgorithm(algorithm)) return [createPrivateKey(privateText), createPublicKey(publicText)]
  const secret = createSecretKey(secretBytes ?? Buffer.from(privateText))
  return [secret, secret]
}

for (const { source, jwk, print } of thumbprintExamples) {
  t.test(`${source}, thumbprint`, async (t) => {
    t.equal(thumbprint(jwk), print)
    t.equal(await jose.calculateJwkThumbprint(jwk as jose.JWK), print, 'jose agrees')
    t.strictSame(Object.keys(essence(jwk)), Object.keys(essence(jwk)).toSorted(), 'in lexicographic order')
  })
}

for (const algorithm of names) {
  t.test(`${algorithm} and jose, both ways`, async (t) => {
    const pair = makeKeyPair(algorithm)
    const { codec, keyring } = await openCodec(t, { SIGNING_KEY: pair.text, ALGORITHM: algorithm })
    const { signing } = keyring.keys()
    const claims = {
      token_type: 'access',
      exp: 4_000_000_000,
      iat: 1_700_000_000,
      jti: 'é\u{1f511}',
      roles: ['a', null]
    }

    const ours = codec.sign('access', claims)
    t.same(codec.read(ours), claims)
    t.same(decodePart(ours, 0), { alg: algorithm, typ: 'JWT', kid: signing.kid })
    const options = { algorithms: [algorithm], typ: 'JWT' }
    if (pair.publicKey === undefined) {
      t.equal(publicJwk(signing), undefined, 'a secret is never shown')
      t.same((await jose.jwtVerify(ours, pair.privateKey, options)).payload, claims)
    } else {
      const jwks = jose.createLocalJWKSet({ keys: [publicJwk(signing) as unknown as jose.JWK] })
      t.same((await jose.jwtVerify(ours, jwks, options)).payload, claims, 'jose reads ours by our JWKS')
    }

    const foreign = (header: object) =>
      new jose.SignJWT(claims).setProtectedHeader({ alg: algorithm, ...header }).sign(pair.privateKey)
    t.same(codec.read(await foreign({ kid: signing.kid, typ: 'JWT' })), claims, 'we read what jose signs')
    t.same(codec.read(await foreign({})), claims, 'and without a kid, as Simple JWT signs')
    const others = names.filter(
      (name) => name !== algorithm && algorithms[name].keyType === algorithms[algorithm].keyType
    )
    for (const alg of others.filter((name) => algorithms[name].keyType !== 'ec')) {
      const mixed = await new jose.SignJWT(claims)
        .setProtectedHeader({ alg })
        .sign(algorithms[alg].keyType === 'secret' ? Buffer.from(pair.text) : createPrivateKey(pair.text))
      t.throws(() => codec.read(mixed), { code: 'TOKEN_INVALID' }, `the same key is for ${algorithm} alone, not ${alg}`)
    }
  })
}

t.test('a token whose typ names another kind is refused although its signature is right', async (t) => {
  const SIGNING_KEY = 'k'.repeat(64)
  const { codec } = await openCodec(t, { SIGNING_KEY })
  const sign = (typ: unknown): string => {
    const parts = [{ alg: 'HS256', ...(typ === undefined ? {} : { typ }) }, { exp: 1 }]
    const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `${text}.${createHmac('sha256', SIGNING_KEY).update(text).digest('base64url')}`
  }
  for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'application/at+JWT', 'application/jwt'])
    t.same(codec.read(sign(typ)), { exp: 1 }, `${typ}`)
  for (const typ of [
    'dpop+jwt',
    'secevent+jwt',
    'logout+jwt',
    'JOSE',
    'text/jwt',
    '',
    'JWT ',
    7,
    null,
    true,
    ['JWT'],
    {}
  ])
    t.throws(() => codec.read(sign(typ)), { code: 'TOKEN_INVALID' }, JSON.stringify(typ))
})

t.test('TOKEN_PROFILE decides typ', async (t) => {
  const env = { TOKEN_PROFILE: 'rfc9068', ISSUER: 'https://id.example.com', AUDIENCE: 'shop' }
  const { codec } = await openCodec(t, env)
  t.equal(decodePart(codec.sign('access', { exp: 1 }), 0).typ, 'at+jwt')
  t.equal(decodePart(codec.sign('refresh', { exp: 1 }), 0).typ, 'JWT', 'a refresh token is not an access token')
})

t.test('importSigningKey takes each example key', async (t) => {
  for (const { source, algorithm, jwk } of signatureExamples) {
    const key = importSigningKey({
      signingKey: JSON.stringify(jwk),
      verifyingKey: undefined,
      algorithm,
      production: true
    })
    t.equal(key?.algorithm, algorithm, source)
  }
})

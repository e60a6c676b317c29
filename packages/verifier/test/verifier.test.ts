import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import Fastify from 'fastify'
import t from 'tap'
import { algorithmNames } from '../src/algorithms.ts'
import { authenticate } from '../src/express.ts'
import plugin from '../src/fastify.ts'
import { createVerifier, type VerifierOptions } from '../src/index.ts'
import { Recent } from '../src/recent.ts'
import { createTestIssuer, type TestToken } from '../src/testing.ts'
import { Verifier } from '../src/verifier.ts'
import { accepted, aClock, blacklisted, cannotKnow, expiredToken, invalidToken, verdictOf } from './support.ts'

async function aVerifier(t: Pick<Tap, 'teardown'>, options: Partial<VerifierOptions> = {}) {
  const issuer = await createTestIssuer()
  const clock = aClock()
  const verifier = new Verifier({ ...issuer.options, ...options }, clock)
  t.teardown(() => verifier.close())
  await verifier.ready()
  return { issuer, verifier, clock }
}
type Tap = typeof t

t.test('verify: an access token of a user', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token({
    userId: '7',
    sessionId: 'a'.repeat(32),
    tokenId: 'b'.repeat(32),
    scopes: ['x', 'y']
  })
  const verified = await verifier.verify(token)
  t.match(verified, {
    userId: '7',
    sessionId: 'a'.repeat(32),
    tokenId: 'b'.repeat(32),
    clientId: undefined,
    scopes: ['x', 'y'],
    claims: { user_id: '7', token_type: 'access', iss: 'https://keyturn.test' }
  })
  t.equal(verified.expiresAt, verified.claims.exp)
  t.equal(await verifier.verify(token), verified, 'the second time it is the same object')
  t.ok([verified, verified.claims, verified.scopes].every(Object.isFrozen), 'which no caller can change for another')
})

t.test('verify: a client is not a user, whatever else its token says', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token({ clientId: 'billing', claims: { user_id: '1' } })
  t.match(await verifier.verify(token), { userId: undefined, clientId: 'billing', sessionId: undefined })
  const ofUser = await issuer.token({ userId: '1', claims: { client_id: 'keyturn' } })
  t.match(await verifier.verify(ofUser), { userId: '1', clientId: undefined })
})

t.test('verify: what is not an access token of this issuer is refused', async (t) => {
  const { issuer, verifier } = await aVerifier(t, { audience: ['orders', 'shop'] })
  const verdict = async (token: TestToken): Promise<string> =>
    verdictOf(verifier, await issuer.token({ audience: 'orders', ...token }))
  t.equal(await verdict({}), accepted)
  t.equal(await verdict({ claims: { aud: ['other', 'shop'] } }), accepted)
  t.equal(await verdict({ lifetime: -1 }), expiredToken)
  const refused: Record<string, Record<string, unknown>> = {
    'a refresh token': { token_type: 'refresh' },
    'a sliding token': { token_type: 'sliding' },
    'no type': { token_type: undefined },
    'another issuer': { iss: 'https://other.test' },
    'the issuer with a slash': { iss: 'https://keyturn.test/' },
    'no issuer': { iss: undefined },
    'another audience': { aud: 'other' },
    'no audience': { aud: undefined },
    'no expiry': { exp: undefined },
    'an expiry in a text': { exp: '9999999999' },
    'not valid yet': { nbf: Date.now() / 1000 + 60 },
    'no id': { jti: undefined },
    'a session that is not a text': { sid: 7 },
    'no user': { user_id: undefined },
    'a user that is an object': { user_id: {} }
  }
  for (const [name, claims] of Object.entries(refused)) t.equal(await verdict({ claims }), invalidToken, name)
})

t.test('verify: an expiry is a number of seconds up to the year 9999, as for Keyturn', async (t) => {
  const { issuer, verifier } = await aVerifier(t, { revocations: 'none' })
  const now = Math.floor(Date.now() / 1000)
  const verdicts: readonly (readonly [exp: unknown, verdict: string])[] = [
    [now + 60.5, accepted],
    [253_402_300_799, accepted],
    [253_402_300_799.5, invalidToken],
    [253_402_300_800, invalidToken],
    [2 ** 53, invalidToken],
    [1e308, invalidToken],
    [0, expiredToken],
    [-1, expiredToken],
    [-1e308, expiredToken],
    [now - 0.5, expiredToken],
    [`${now + 60}`, invalidToken],
    ['', invalidToken],
    [null, invalidToken],
    [true, invalidToken],
    [[now + 60], invalidToken]
  ]
  for (const [exp, verdict] of verdicts)
    t.equal(await verdictOf(verifier, await issuer.token({ claims: { exp } })), verdict, JSON.stringify(exp))
  for (const iat of ['x', null, {}])
    t.equal(await verdictOf(verifier, await issuer.token({ claims: { iat } })), invalidToken, JSON.stringify(iat))
  const { expiresAt } = await verifier.verify(await issuer.token({ claims: { exp: 253_402_300_799 } }))
  t.equal(new Date(expiresAt * 1000).toISOString(), '9999-12-31T23:59:59.000Z')
})

t.test('verify: a text that is not a token of the one canonical form is refused', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token()
  const [head, body, tail] = token.split('.') as [string, string, string]
  const header = (more: object): string =>
    Buffer.from(JSON.stringify({ alg: 'ES256', kid: 'test', ...more })).toString('base64url')
  const texts = [
    '',
    'x',
    `${head}.${body}`,
    `${head}.${body}.`,
    `${token}.`,
    ` ${token}`,
    `${token}\n`,
    `${token}=`,
    `\uFEFF${token}`,
    `${token.slice(0, -1)}${tail.endsWith('A') ? 'B' : 'A'}`,
    `${head}.${body}.${'x'.repeat(4096)}`,
    `${header({ alg: 'none' })}.${body}.${tail}`,
    `${header({ alg: 'HS256' })}.${body}.${tail}`,
    `${header({ typ: 'dpop+jwt' })}.${body}.${tail}`,
    `${header({ crit: ['b64'] })}.${body}.${tail}`,
    `${header({ kid: undefined })}.${body}.${tail}`,
    `${header({ kid: 'other' })}.${body}.${tail}`,
    `${Buffer.from('[]').toString('base64url')}.${body}.${tail}`,
    `${head}.${Buffer.from('{}').toString('base64url')}.${tail}`
  ]
  for (const text of texts) t.equal(await verdictOf(verifier, text), invalidToken, JSON.stringify(text.slice(0, 60)))
  for (const value of [undefined, null, 7, {}, ['a']])
    t.equal(await verdictOf(verifier, value as string), invalidToken, String(value))
  t.equal(await verdictOf(verifier, token), accepted)
})

t.test('verify: a remembered token expires on the second', async (t) => {
  const { issuer, verifier, clock } = await aVerifier(t, { revocations: 'none' })
  const token = await issuer.token({ lifetime: 60 })
  const { expiresAt } = await verifier.verify(token)
  clock.pass(expiresAt - clock.now() - 0.001)
  t.equal(await verdictOf(verifier, token), accepted)
  clock.pass(0.001)
  t.equal(await verdictOf(verifier, token), expiredToken)
})

t.test('verify: a remembered token is refused once its session or the token itself is revoked', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const [first, second, other] = await Promise.all([
    issuer.token({ sessionId: 's', tokenId: '1' }),
    issuer.token({ sessionId: 's', tokenId: '2' }),
    issuer.token({ sessionId: 'o', tokenId: '3' })
  ])
  for (const token of [first, second, other]) t.equal(await verdictOf(verifier, token), accepted)
  await issuer.revoke({ tokenId: '1' })
  t.equal(await verdictOf(verifier, first), blacklisted)
  t.equal(await verdictOf(verifier, second), accepted)
  await issuer.revoke({ sessionId: 's' })
  t.equal(await verdictOf(verifier, second), blacklisted)
  t.equal(await verdictOf(verifier, other), accepted)
})

t.test('verify: what was revoked before the verifier started is refused too', async (t) => {
  const issuer = await createTestIssuer()
  for (let i = 0; i < 2500; i++) await issuer.revoke({ sessionId: `s${i}` })
  const verifier = createVerifier(issuer.options)
  t.teardown(() => verifier.close())
  await verifier.ready()
  t.equal(await verdictOf(verifier, await issuer.token({ sessionId: 's0' })), blacklisted)
  t.equal(await verdictOf(verifier, await issuer.token({ sessionId: 's2499' })), blacklisted)
  t.equal(await verdictOf(verifier, await issuer.token({ sessionId: 's2500' })), accepted)
})

t.test('verify: a silent stream is 503 for a valid token, and still 401 for what is known to be refused', async (t) => {
  const { issuer, verifier, clock } = await aVerifier(t)
  const [token, ended] = await Promise.all([issuer.token(), issuer.token({ sessionId: 's' })])
  await verifier.verify(ended)
  await issuer.revoke({ sessionId: 's' })
  clock.pass(31)
  t.equal(await verdictOf(verifier, token), cannotKnow)
  t.equal(await verdictOf(verifier, ended), blacklisted)
  t.equal(await verdictOf(verifier, `${token}x`), invalidToken)
  t.notOk(verifier.isReady)
  await issuer.revoke({ sessionId: 'other' })
  await verifier.ready()
  t.equal(await verdictOf(verifier, token), accepted, 'what comes after the silence is loaded again, and counts')
  clock.set(-3600)
  t.equal(await verdictOf(verifier, token), accepted, 'a clock that is set back logs no user out')
})

t.test('verify: scopes', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token({ scopes: ['orders.read', 'orders.write'] })
  await verifier.verify(token, { scope: 'orders.read' })
  await verifier.verify(token, { scope: 'orders.read orders.write' })
  await verifier.verify(token, { scope: ['orders.write'] })
  await t.rejects(verifier.verify(token, { scope: ['orders.read', 'users.read'] }), {
    code: 'insufficient_scope',
    status: 403,
    challenge: 'Bearer realm="api", error="insufficient_scope", scope="orders.read users.read"'
  })
  await t.rejects(verifier.verify(await issuer.token(), { scope: 'orders' }), { code: 'insufficient_scope' })
})

t.test('verify: a mistake in the options does not turn off the check of scopes', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token()
  const wrong = [
    { scopes: 'orders' },
    { scope: '' },
    { scope: ' ' },
    { scope: [] },
    { scope: [''] },
    { scope: undefined },
    { scope: null },
    { scope: 7 }
  ]
  for (const options of wrong as object[]) {
    await t.rejects(verifier.verify(token, options), { name: 'TypeError', message: /scope/ }, JSON.stringify(options))
    t.throws(() => authenticate(verifier, options), { name: 'TypeError' }, 'Express, at the start')
    const app = Fastify()
    await app.register(plugin, { verifier })
    t.throws(() => app.authenticate(options), { name: 'TypeError' }, 'Fastify, at the start')
  }
})

t.test('verifyRequest: takes the token from a Fetch Request and from an IncomingMessage', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token({ userId: '7' })
  for (const scheme of ['Bearer', 'bearer', 'Bearer ']) {
    const authorization = `${scheme} ${token}`
    t.match(await verifier.verifyRequest(new Request('http://x', { headers: { authorization } })), { userId: '7' })
    t.match(await verifier.verifyRequest({ headers: { authorization } }), { userId: '7' })
  }
  for (const headers of [{}, { authorization: 'Basic x' }, { authorization: 'Bearerx' }, { authorization: '' }]) {
    await t.rejects(verifier.verifyRequest({ headers }), {
      code: 'not_authenticated',
      status: 401,
      challenge: 'Bearer realm="api"'
    })
  }
  for (const authorization of [
    'Bearer',
    'Bearer ',
    'Bearer x',
    `Bearer ${token} x`,
    `Bearer ${token}, Bearer ${token}`
  ])
    await t.rejects(verifier.verifyRequest({ headers: { authorization } }), {
      code: 'token_not_valid',
      status: 401,
      challenge: 'Bearer realm="api", error="invalid_token", error_description="Token is invalid"'
    })
  const spoofed = { headers: { get: 'x', authorization: `Bearer ${token}` } }
  t.match(await verifier.verifyRequest(spoofed), { userId: '7' }, 'a field of the name `get` changes nothing')
})

/** The status of a request with these `Authorization` fields, which no HTTP client joins or drops. */
async function statusOf(port: number, fields: readonly string[]): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  const lines = fields.map((field, index) => `${index === 0 ? 'Authorization' : 'authorization'}: ${field}\r\n`)
  socket.end(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines.join('')}\r\n`)
  return Number((await text(socket)).split(' ')[1])
}

t.test('verifyRequest: of two Authorization fields neither is taken, with Node, Express and Fastify', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const [one, other] = [await issuer.token(), await issuer.token()]
  const app = Fastify()
  await app.register(plugin, { verifier })
  app.get('/', { onRequest: app.authenticate() }, async () => 'hello')
  await app.listen({ host: '127.0.0.1', port: 0 })
  const server = createServer((request, response) =>
    authenticate(verifier)(request, response, () => response.end('hello'))
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.close()
    await app.close()
  })
  const ports = [server, app.server].map((each) => (each.address() as AddressInfo).port)
  for (const port of ports) {
    t.equal(await statusOf(port, [`Bearer ${one}`]), 200)
    for (const fields of [
      [`Bearer ${one}`, `Bearer ${other}`],
      [`Bearer ${one}`, `Bearer ${one}`],
      [`Bearer ${one}`, 'Basic eDp5'],
      ['Basic eDp5', `Bearer ${one}`],
      [`Bearer ${one}`, ''],
      ['', `Bearer ${one}`]
    ])
      t.equal(await statusOf(port, fields), 401, fields.map((field) => field.slice(0, 9)).join())
  }
  const { headers } = { headers: { authorization: `Bearer ${one}` } }
  const rawHeaders = ['Authorization', `Bearer ${one}`, 'authorization', `Bearer ${other}`]
  for (const request of [
    { headers, rawHeaders },
    { headers, raw: { rawHeaders } }
  ])
    await t.rejects(verifier.verifyRequest(request), { code: 'token_not_valid', reason: /more than one Authorization/ })
  const named = { headers, rawHeaders: ['x', 'authorization', 'y', 'authorization', ...rawHeaders.slice(0, 2)] }
  t.ok(await verifier.verifyRequest(named), 'a value of that name is not a field')
  const fetched = new Headers([
    ['authorization', `Bearer ${one}`],
    ['authorization', `Bearer ${one}`]
  ])
  await t.rejects(verifier.verifyRequest({ headers: fetched }), { code: 'token_not_valid' })
})

t.test('ready: waits for as long as it is asked to', async (t) => {
  const issuer = await createTestIssuer()
  for (const timeoutMs of [2 ** 31, Number.POSITIVE_INFINITY]) {
    const verifier = createVerifier(issuer.options)
    t.teardown(() => verifier.close())
    await verifier.ready(timeoutMs)
  }
})

t.test('verify: without an issuer it cannot know', async (t) => {
  const issuer = await createTestIssuer({ offline: true })
  const verifier = createVerifier(issuer.options)
  t.teardown(() => verifier.close())
  await t.rejects(verifier.verify(await issuer.token()), {
    code: 'unavailable',
    status: 503,
    challenge: undefined,
    headers: { 'retry-after': '1' }
  })
  await t.rejects(verifier.ready(1), { code: 'unavailable', reason: /keys cannot be fetched: .*offline/ })
  t.equal(await verdictOf(verifier, 'x'), invalidToken, 'but knows what is not a token')
})

t.test('close: refuses from then on, and leaves nothing running', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const token = await issuer.token()
  t.equal(await verdictOf(verifier, token), accepted)
  await verifier.close()
  t.equal(await verdictOf(verifier, token), cannotKnow)
  await t.rejects(verifier.ready(), { code: 'unavailable', message: /unavailable/ })
  await verifier.close()
})

t.test('events: revoked names sessions and tokens', async (t) => {
  const { issuer, verifier } = await aVerifier(t)
  const heard = once(verifier, 'revoked')
  await issuer.revoke({ sessionId: 's' })
  t.match(await heard, [[{ sid: 's', until: Number }]])
})

t.test('createVerifier: a mistake in the options is an error at the start', async (t) => {
  const { options } = await createTestIssuer()
  const wrong: Record<string, [object, RegExp]> = {
    'no client': [{ client: undefined }, /client: expected .*revocations: 'none'/],
    'a client without a secret': [{ client: { id: 'x' } }, /client/],
    'an empty secret': [{ client: { id: 'x', secret: '' } }, /client/],
    'a typing error': [{ audiance: 'orders' }, /unknown option audiance/],
    'an audience from an unset variable': [{ audience: undefined }, /audience/],
    'an empty list of audiences': [{ audience: [] }, /audience/],
    'not a URL': [{ issuer: 'auth.example' }, /issuer/],
    'a URL with a query': [{ issuer: 'https://auth.example?x' }, /issuer/],
    'a URL with a password': [{ issuer: 'https://a:b@auth.example' }, /issuer/],
    'an algorithm of secrets': [{ algorithms: ['HS256'] }, /algorithms/],
    none: [{ algorithms: ['none'] }, /algorithms/],
    'no algorithm': [{ algorithms: [] }, /algorithms/],
    'a staleness below the heartbeat': [{ staleness: 1 }, /staleness/],
    'an unknown source of revocations': [{ revocations: 'poll' }, /revocations/]
  }
  for (const [name, [more, message]] of Object.entries(wrong)) {
    t.throws(() => createVerifier({ ...options, ...more } as VerifierOptions), { name: 'TypeError', message }, name)
  }
})

/** A key pair of each algorithm, as node:crypto makes and uses it. */
function pairOf(algorithm: string): { publicKey: KeyObject; sign(text: string): Buffer } {
  const [kind, hash] = [algorithm.slice(0, 2), `sha${algorithm.slice(2)}`]
  const curves: Record<string, string> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }
  if (kind === 'ES') {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curves[algorithm] as string })
    return { publicKey, sign: (text) => sign(hash, Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' }) }
  }
  if (kind === 'Ed') {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    return { publicKey, sign: (text) => sign(null, Buffer.from(text), privateKey) }
  }
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pss = { padding: 6, saltLength: -1 }
  const key = { key: privateKey, ...(kind === 'PS' ? pss : {}) }
  return { publicKey, sign: (text) => sign(hash, Buffer.from(text), key) }
}

t.test('algorithms: each verifies its own signature, and takes no other for it', async (t) => {
  const pairs = algorithmNames.map((alg) => ({ alg, ...pairOf(alg) }))
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const keys = [
    ...pairs.map(({ alg, publicKey }) => ({ ...publicKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig' })),
    { ...short.publicKey.export({ format: 'jwk' }), kid: 'short', alg: 'RS256' },
    { kty: 'oct', k: 'c2VjcmV0', kid: 'secret', alg: 'HS256' },
    { ...pairs[0]?.publicKey.export({ format: 'jwk' }), kid: 'encryption', alg: 'ES256', use: 'enc' },
    { ...pairs[0]?.publicKey.export({ format: 'jwk' }), kid: 'mismatch', alg: 'ES384' },
    'not a key',
    null
  ]
  const issuer = 'https://auth.example/tenant'
  const fetch = async (url: string): Promise<Response> =>
    url === 'https://auth.example/.well-known/oauth-authorization-server/tenant'
      ? Response.json({ issuer, jwks_uri: 'https://auth.example/tenant/keys' })
      : Response.json({ keys })
  const verifier = createVerifier({ issuer, revocations: 'none', fetch })
  t.teardown(() => verifier.close())
  await verifier.ready()
  const payload = { iss: issuer, exp: Date.now() / 1000 + 60, jti: 'j', token_type: 'access', user_id: 1 }
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  for (const { alg, sign } of pairs) {
    const make = (header: object): string => {
      const signed = `${encode(header)}.${encode(payload)}`
      return `${signed}.${sign(signed).toString('base64url')}`
    }
    t.match(await verifier.verify(make({ alg, kid: alg })), { userId: '1' }, alg)
    for (const other of pairs) {
      if (other.alg === alg) continue
      t.equal(await verdictOf(verifier, make({ alg, kid: other.alg })), invalidToken)
      t.equal(await verdictOf(verifier, make({ alg: other.alg, kid: other.alg })), invalidToken)
    }
    for (const kid of ['short', 'secret', 'encryption', 'mismatch'])
      t.equal(await verdictOf(verifier, make({ alg, kid })), invalidToken, `${alg} with the key ${kid}`)
  }
  const only = createVerifier({ issuer, revocations: 'none', fetch, algorithms: ['EdDSA'] })
  t.teardown(() => only.close())
  const signed = `${encode({ alg: 'ES256', kid: 'ES256' })}.${encode(payload)}`
  const token = `${signed}.${pairs
    .find(({ alg }) => alg === 'ES256')
    ?.sign(signed)
    .toString('base64url')}`
  t.equal(await verdictOf(verifier, token), accepted)
  t.equal(await verdictOf(only, token), invalidToken, 'an algorithm that is not wanted')
})

t.test('recent: is bounded, and keeps what is used', async (t) => {
  const recent = new Recent<number>(100)
  recent.set('used', 0)
  for (let i = 0; i < 1000; i++) {
    recent.set(`${i}`, i)
    t.equal(recent.get('used'), 0)
    t.ok(recent.size <= 100)
  }
  t.equal(recent.get('1'), undefined)
  t.equal(recent.get('999'), 999)
})

/*
 * What Simple JWT says of tokens, recorded from its newest source on a live server: which are good, why others are not and in
 * which order that is found, and what is in those that are handed out. Rows that begin with "Keyturn:" differ on purpose.
 */
import { createHmac } from 'node:crypto'
import { importSPKI, jwtVerify } from 'jose'
import t from 'tap'
import { aPassword, openApp, type TestApp } from '../support/app.ts'

const secret = 'a secret that SIGNING_KEY shares with the tests'
const hs256 = { alg: 'HS256', typ: 'JWT' }

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

function signParts(head: string, body: string, key = secret, hash = 'sha256'): string {
  return `${head}.${body}.${createHmac(hash, key).update(`${head}.${body}`).digest('base64url')}`
}

/** A signed token; `payload` and `header` are JSON values, or the text itself. */
const sign = (payload: unknown, header: unknown = hs256, key = secret, hash = 'sha256'): string =>
  signParts(encode(header), encode(payload), key, hash)

const headerOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString())
const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())

const verify = '/api/token/verify/'
const refresh = '/api/token/refresh/'
const blacklist = '/api/token/blacklist/'

/** Sends a token under both field names that an endpoint may expect; returns status and body. */
const show = async ({ post }: TestApp, path: string, token: string): Promise<string> => {
  const { statusCode, body, headers } = await post(path, { token, refresh: token })
  const challenge = headers['www-authenticate']
  return challenge === (statusCode === 401 ? 'Bearer realm="api"' : undefined)
    ? `${statusCode} ${body}`
    : `${statusCode} ${body}, but the challenge ${challenge}`
}

const refused = (detail: string): string => `401 ${JSON.stringify({ detail, code: 'token_not_valid' })}`
const invalid = refused('Token is invalid')
const expired = refused('Token is expired')
const good = '200 {}'
const blacklisted = refused('Token is blacklisted')
const blacklistedAtVerify = '400 {"non_field_errors":["Token is blacklisted"]}'

const service = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on' })
const now = service.clock()

/** The claims of a good refresh token as Simple JWT makes it, but for `changes`; undefined takes one away. */
const foreign = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  token_type: 'refresh',
  exp: now + 60,
  iat: now,
  jti: '0123456789abcdef0123456789abcdef',
  user_id: '1',
  ...changes
})

t.test('invalid tokens are refused by every endpoint, and their faults found in a fixed order', async (t) => {
  // A token of an active session: without its one fault, each endpoint would accept it.
  const ours = claimsOf((await service.logIn('faulty')).refresh)
  const claims = (changes: Record<string, unknown> = {}) => ({ ...ours, ...changes })
  const token = sign(claims())
  const [head, body, signature] = token.split('.') as [string, string, string]
  const bytes = Buffer.from(signature, 'base64url')
  bytes[0]! ^= 1
  const rows: readonly (readonly [name: string, token: string, answer: string])[] = [
    ['a word', 'x', invalid],
    ['three words', 'a.b.c', invalid],
    ['only dots', '..', invalid],
    ['two parts', `${head}.${body}`, invalid],
    ['four parts', `${token}.x`, invalid],
    ['without a signature', `${head}.${body}.`, invalid],
    ['a signature cut short', token.slice(0, -3), invalid],
    ['a signature with a wrong bit', `${head}.${body}.${bytes.toString('base64url')}`, invalid],
    ["another's signature", `${head}.${encode(claims({ user_id: '2' }))}.${signature}`, invalid],
    ['a signature of another secret', sign(claims(), hs256, `${secret}!`), invalid],
    ['a signature that is none', `${head}.${body}.${'*'.repeat(43)}`, invalid],
    ['Keyturn: padding of the signature is refused, not repaired', `${token}=`, invalid],
    ['Keyturn: padding of the payload', signParts(head, `${body}=`), invalid],
    ['Keyturn: padding of the header', signParts(`${head}==`, body), invalid],
    ['a space inside', signParts(head, `${body.slice(0, 8)} ${body.slice(8)}`), invalid],
    ['a line break inside', `${head}.${body}.${signature.slice(0, 8)}\n${signature.slice(8)}`, invalid],
    ['a character of another alphabet at the end', `${token}!`, invalid],
    ['with the word Bearer', `Bearer ${token}`, invalid],
    ['alg none, unsigned', `${encode({ alg: 'none', typ: 'JWT' })}.${body}.`, invalid],
    ['alg none, signed', sign(claims(), { alg: 'none', typ: 'JWT' }), invalid],
    ['alg NONE', `${encode({ alg: 'NONE' })}.${body}.`, invalid],
    ['HS512 with the right key', sign(claims(), { alg: 'HS512', typ: 'JWT' }, secret, 'sha512'), invalid],
    ['HS384 with the right key', sign(claims(), { alg: 'HS384', typ: 'JWT' }, secret, 'sha384'), invalid],
    ['RS256 in the header only', sign(claims(), { alg: 'RS256', typ: 'JWT' }), invalid],
    ['an algorithm in lower case', sign(claims(), { alg: 'hs256' }), invalid],
    ['no algorithm', sign(claims(), { typ: 'JWT' }), invalid],
    ['an algorithm that is not a string', sign(claims(), { alg: 256 }), invalid],
    ['kid is not a string', sign(claims(), { ...hs256, kid: 5 }), invalid],
    ['unknown crit', sign(claims(), { ...hs256, crit: ['x'], x: 1 }), invalid],
    ['crit of a claim', sign(claims(), { ...hs256, crit: ['exp'], exp: 1 }), invalid],
    ['the header is an array', sign(claims(), [hs256]), invalid],
    ['the header is null', sign(claims(), null), invalid],
    ['the header is not JSON', sign(claims(), 'HS256'), invalid],
    ['the payload is an array', sign([claims()]), invalid],
    ['the payload is a text', sign('"x"'), invalid],
    ['the payload is a number', sign('1'), invalid],
    ['the payload is null', sign('null'), invalid],
    ['the payload is not JSON', sign('{'), invalid],
    ['the payload is empty', sign(''), invalid],
    ['nbf in the future', sign(claims({ nbf: now + 1 })), invalid],
    ['nbf is not a number', sign(claims({ nbf: 'x' })), invalid],
    ['exp is a word', sign(claims({ exp: 'x' })), invalid],
    ['exp is null', sign(claims({ exp: null })), invalid],
    ['exp is an array', sign(claims({ exp: [now + 60] })), invalid],
    ['Keyturn: exp is a numeric text, not a 500', sign(claims({ exp: `${now + 60}` })), invalid],
    [
      'Keyturn: exp is beyond any number, not a 500',
      sign(JSON.stringify(claims({ exp: 7 })).replace('7', '1e999')),
      invalid
    ],
    ['Keyturn: exp is beyond any date, not a 500', sign(claims({ exp: 253_402_300_800 })), invalid],
    ['sub is a number', sign(claims({ sub: 1 })), invalid],
    ['sub is null', sign(claims({ sub: null })), invalid],
    ['jti is a number', sign(claims({ jti: 1 })), invalid],
    ['jti is null', sign(claims({ jti: null })), invalid],
    ['Keyturn: user_id is an object, not a 500', sign(claims({ user_id: {} })), invalid],
    ['Keyturn: user_id is a fraction, not a 500', sign(claims({ user_id: 1.5 })), invalid],
    ['Keyturn: sid is not a string', sign(claims({ sid: 1 })), invalid],
    ['Keyturn: gen is not an integer', sign(claims({ gen: 0.5 })), invalid],
    ['Keyturn: longer than 4096 characters', sign(claims({ x: 'x'.repeat(3000) })), invalid],
    ['expired', sign(claims({ exp: now - 1 })), expired],
    ['expired just now', sign(claims({ exp: now })), expired],
    ['expired in 1970', sign(claims({ exp: 0 })), expired],
    ['expired before 1970', sign(claims({ exp: -1.5 })), expired],
    ['no exp', sign(claims({ exp: undefined })), refused("Token has no 'exp' claim")],
    [
      'no jti (Keyturn: at refresh and blacklist too, not a 500)',
      sign(claims({ jti: undefined })),
      refused('Token has no id')
    ],
    ['a bad signature before expiry', sign(claims({ exp: 0 }), hs256, 'x'.repeat(32)), invalid],
    ['nbf before expiry', sign(claims({ exp: 0, nbf: now + 1 })), invalid],
    ['expiry before a missing id', sign(claims({ exp: now, jti: undefined })), expired],
    ['expiry before the type', sign(claims({ exp: now, token_type: 'fake' })), expired],
    [
      'a missing exp before a missing id',
      sign(claims({ exp: undefined, jti: undefined })),
      refused("Token has no 'exp' claim")
    ],
    ['a missing id before the type', sign(claims({ jti: undefined, token_type: 'fake' })), refused('Token has no id')]
  ]
  for (const path of [verify, refresh, blacklist]) {
    for (const [name, token, answer] of rows) t.equal(await show(service, path, token), answer, `${path} ${name}`)
  }
  const ahead = 'Keyturn: iat in the future, by more than the 5 seconds that clocks may differ'
  t.equal(await show(service, verify, sign(claims({ iat: now + 6 }))), invalid, ahead)
  t.equal(await show(service, verify, sign(claims({ iat: 'x' }))), invalid, 'iat is not a number')
  t.equal(await show(service, verify, token), good)
  for (const iat of [now + 6, 'x']) {
    const name = "Keyturn: at refresh iat does not count, it is the session store's time"
    t.match(await show(service, refresh, sign(claims({ iat }))), /^200 /, name)
  }
  t.equal(await show(service, blacklist, token), good)
})

t.test('what verify takes: any type, and whatever Simple JWT takes', async (t) => {
  const access = foreign({ token_type: 'access' })
  const rows: readonly (readonly [name: string, token: string])[] = [
    ['an access token', sign(access)],
    ['a refresh token that the server never recorded', sign(foreign())],
    ['an unknown type', sign(foreign({ token_type: 'fake' }))],
    ['no type', sign(foreign({ token_type: undefined }))],
    ['a type that is not a string', sign(foreign({ token_type: null }))],
    ['white space around', ` \n${sign(access)}\u00a0`],
    ['a foreign kid', sign(access, { ...hs256, kid: 'somebody' })],
    ['an empty kid', sign(access, { ...hs256, kid: '' })],
    ['a foreign typ', sign(access, { alg: 'HS256', typ: 'at+jwt' })],
    ['no typ', sign(access, { alg: 'HS256' })],
    ['unknown header members', sign(access, { ...hs256, x5t: 'x', jku: 'https://example.com/' })],
    ['members in another order', sign(access, { typ: 'JWT', alg: 'HS256' })],
    ['no iat', sign(foreign({ token_type: 'access', iat: undefined }))],
    ['Keyturn: iat ahead by what clocks may differ', sign(foreign({ token_type: 'access', iat: now + 5 }))],
    ['exp in the next second', sign(foreign({ exp: now + 1 }))],
    ['exp with a fraction', sign(foreign({ exp: now + 1.5 }))],
    ['exp at the end of the last date', sign(foreign({ exp: 253_402_300_799 }))],
    ['nbf now', sign(foreign({ nbf: now }))],
    ['aud that is not configured', sign(foreign({ aud: 'somebody' }))],
    ['iss that is not configured', sign(foreign({ iss: 'somebody' }))],
    ['a sub that is a text', sign(foreign({ sub: '1' }))],
    ['user_id as a number, as before 5.5.1', sign(foreign({ user_id: 1 }))],
    ['an access token without user_id', sign(foreign({ token_type: 'access', user_id: undefined }))],
    ['custom claims', sign(foreign({ name: 'Vítor \u{1f511}', roles: ['a'], nested: { a: null } }))]
  ]
  for (const [name, token] of rows) t.equal(await show(service, verify, token), good, name)
  t.equal(await show(service, verify, sign(foreign({ user_id: undefined }))), invalid, 'Keyturn: a session has a user')
})

t.test('refresh and blacklist want a refresh token', async (t) => {
  const { access } = await service.logIn('typed')
  for (const path of [refresh, blacklist]) {
    const answer = (token: string): Promise<string> => show(service, path, token)
    t.equal(await answer(access), refused('Token has wrong type'), 'an access token')
    t.equal(await answer(sign(foreign({ token_type: 'fake' }))), refused('Token has wrong type'))
    t.equal(await answer(sign(foreign({ token_type: null }))), refused('Token has wrong type'))
    t.equal(await answer(sign(foreign({ token_type: undefined }))), refused('Token has no type'))
  }
})

t.test('Keyturn: a refresh token is ours only by its jti, though the secret is shared', async (t) => {
  const { refresh: token, userId } = await service.logIn('shared')
  const ours = claimsOf(token)
  const forgeries = {
    'a later generation, which would pass for one the store lost': { ...ours, gen: 1 },
    "somebody else's session": { ...ours, sid: 'f'.repeat(32) },
    "somebody else's name": { ...ours, user_id: `${userId}0` },
    'another jti': { ...ours, jti: 'f'.repeat(32) }
  }
  for (const [name, forged] of Object.entries(forgeries)) {
    for (const path of [refresh, blacklist]) t.equal(await show(service, path, sign(forged)), invalid, name)
  }
  t.match(await show(service, refresh, sign(ours)), /^200 /, 'signed again with the same claims it is the same token')
})

t.test('LEEWAY counts both ways', async (t) => {
  const lenient = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on', LEEWAY: '10' })
  t.equal(await show(lenient, verify, sign(foreign({ exp: now - 9 }))), good)
  t.equal(await show(lenient, verify, sign(foreign({ exp: now - 10 }))), expired)
  t.equal(await show(lenient, verify, sign(foreign({ nbf: now + 10 }))), good)
  t.equal(await show(lenient, verify, sign(foreign({ nbf: now + 11 }))), invalid)
  t.equal(await show(lenient, verify, sign(foreign({ token_type: 'access', iat: now + 16 }))), invalid)
})

t.test('AUDIENCE and ISSUER are demanded, and written last', async (t) => {
  const strict = await openApp(t, {
    SIGNING_KEY: secret,
    ADOPT_REFRESH_TOKENS: 'on',
    AUDIENCE: 'shop',
    ISSUER: 'https://id.example.com'
  })
  const ours = { aud: 'shop', iss: 'https://id.example.com' }
  const rows: readonly (readonly [name: string, changes: Record<string, unknown>, answer: string])[] = [
    ['both', ours, good],
    ['ours in a list', { ...ours, aud: ['bank', 'shop'] }, good],
    ['no aud', { iss: ours.iss }, invalid],
    ['another aud', { ...ours, aud: 'shops' }, invalid],
    ['others in a list', { ...ours, aud: ['bank'] }, invalid],
    ['an empty list', { ...ours, aud: [] }, invalid],
    ['aud is not a string', { ...ours, aud: { shop: true } }, invalid],
    ['no iss', { aud: 'shop' }, invalid],
    ['another iss', { ...ours, iss: 'https://id.example.com/' }, invalid],
    ['iss in a list', { ...ours, iss: [ours.iss] }, invalid]
  ]
  for (const [name, changes, answer] of rows) t.equal(await show(strict, verify, sign(foreign(changes))), answer, name)
  const pair = await strict.logIn()
  // Keyturn: `sub` too, as soon as there is an issuer.
  const names = ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid', 'sub', 'aud', 'iss']
  t.same(Object.keys(claimsOf(pair.access)), names)
  t.same(Object.keys(claimsOf(pair.refresh)), [
    'token_type',
    'exp',
    'iat',
    'jti',
    'user_id',
    'sid',
    'gen',
    'aud',
    'iss'
  ])
  t.match(claimsOf(pair.access), ours)
  t.match(await show(strict, refresh, pair.refresh), /^200 /)

  const two = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on', AUDIENCE: 'shop,bank' })
  t.same(claimsOf((await two.logIn()).access).aud, ['shop', 'bank'])
  t.equal(await show(two, verify, sign(foreign({ aud: 'bank' }))), good)
})

t.test('the tokens of a login with a secret: any holder of the secret can read both', async (t) => {
  const { access, refresh: token, userId } = await service.logIn('reader')
  const header = { alg: 'HS256', typ: 'JWT', kid: headerOf(access).kid }
  t.same(headerOf(access), header)
  t.same(Object.keys(headerOf(access)), ['alg', 'typ', 'kid'])
  t.same(headerOf(token), header)
  t.notMatch(JSON.stringify(header), secret)

  const accessClaims = claimsOf(access)
  t.same(Object.keys(accessClaims), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid'])
  t.match(accessClaims, { token_type: 'access', exp: now + 300, iat: now, user_id: userId })
  const refreshClaims = claimsOf(token)
  t.same(Object.keys(refreshClaims), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid', 'gen'])
  t.match(refreshClaims, { token_type: 'refresh', exp: now + 86_400, iat: now, user_id: userId, gen: 0 })
  t.equal(accessClaims.sid, refreshClaims.sid)
  for (const { jti, sid } of [accessClaims, refreshClaims]) {
    t.match(jti, /^[0-9a-f]{32}$/)
    t.match(sid, /^[0-9a-f]{32}$/)
  }
  t.not(accessClaims.jti, refreshClaims.jti)

  const key = Buffer.from(secret)
  const options = { algorithms: ['HS256'], typ: 'JWT', currentDate: new Date(now * 1000) }
  t.match((await jwtVerify(access, key, options)).payload, accessClaims)
  t.match((await jwtVerify(token, key, options)).payload, refreshClaims)

  const next = (await service.post(refresh, { refresh: token })).json()
  t.same(Object.keys(claimsOf(next.refresh)), Object.keys(refreshClaims))
  t.match(claimsOf(next.refresh), { sid: refreshClaims.sid, gen: 1, user_id: userId })
  t.match(claimsOf(next.access), { sid: accessClaims.sid, user_id: userId })
  t.not(claimsOf(next.access).jti, accessClaims.jti)
})

t.test('Keyturn: without SIGNING_KEY anyone can read access tokens, and no other service refresh tokens', async (t) => {
  const managed = await openApp(t)
  const { access, refresh: token } = await managed.logIn()
  const { kid, publicText } = managed.app.keyring.keys().signing
  t.ok(access.length < 400, `an access token has ${access.length} bytes`)
  t.same(headerOf(access), { alg: 'ES256', typ: 'JWT', kid })
  t.equal(headerOf(token).alg, 'HS256')
  t.not(headerOf(token).kid, kid)
  t.same(Object.keys(claimsOf(access)), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid'])

  const key = await importSPKI(publicText, 'ES256')
  const options = { currentDate: new Date(now * 1000) }
  t.match((await jwtVerify(access, key, options)).payload, { token_type: 'access', iat: now })
  await t.rejects(jwtVerify(token, key, options))
  t.equal(await show(managed, verify, token), good)

  const forged = foreign({ token_type: 'access' })
  for (const header of [
    hs256,
    { ...hs256, kid },
    { ...hs256, kid: headerOf(token).kid },
    { alg: 'ES256', typ: 'JWT', kid }
  ]) {
    t.equal(await show(managed, verify, sign(forged, header, publicText)), invalid, 'the public key is not a secret')
  }
})

t.test('120 seconds, to the second', async (t) => {
  const lifetimes = { ACCESS_TOKEN_LIFETIME: '120', REFRESH_TOKEN_LIFETIME: '120', SIGNING_KEY: secret }
  const short = await openApp(t, lifetimes)
  const { access, refresh: token } = await short.logIn()
  t.match(claimsOf(access), { exp: now + 120, iat: now })
  short.clock.advance(119)
  t.equal(await show(short, verify, access), good)
  t.equal(await show(short, verify, token), good)
  short.clock.advance(1)
  for (const path of [verify, refresh, blacklist]) t.equal(await show(short, path, token), expired, path)
  t.equal(await show(short, verify, access), expired)

  const renewed = await openApp(t, { ...lifetimes, SESSION_ABSOLUTE_LIFETIME: '300' })
  let { refresh: newest } = await renewed.logIn()
  const ends: number[] = []
  for (const seconds of [119, 119, 61]) {
    renewed.clock.advance(seconds)
    const next = (await renewed.post(refresh, { refresh: newest })).json()
    newest = next.refresh
    ends.push(Number(claimsOf(newest).exp) - now)
  }
  t.same(ends, [239, 300, 300], 'Keyturn: a rotation renews in full, but never past SESSION_ABSOLUTE_LIFETIME')
  renewed.clock.advance(1)
  t.equal(await show(renewed, refresh, newest), expired)
})

t.test('which endpoints accept whose tokens', async (t) => {
  const { app, post } = service
  const { userId } = await service.logIn('dora')
  const fresh = async (): Promise<{ access: string; refresh: string }> =>
    (await post('/api/token/', { username: 'dora', password: aPassword })).json()
  const pairs = [await fresh(), await fresh(), await fresh()] as const
  const logIn = async (username: string, password: string): Promise<string> => {
    const { statusCode, body, headers } = await post('/api/token/', { username, password })
    t.equal(headers['www-authenticate'], 'Bearer realm="api"')
    return `${statusCode} ${body}`
  }
  const failed = '401 {"detail":"No active account found with the given credentials"}'
  const gone = '401 {"detail":"No active account found for the given token."}'
  t.equal(await logIn('dora', `${aPassword}!`), failed, 'a wrong password')
  t.equal(await logIn('Dora', aPassword), failed, 'a name in other letters')
  t.equal(await logIn('unknown', aPassword), failed, 'an unknown name')

  const goodAtVerify = async (): Promise<void> => {
    for (const { access, refresh } of pairs.slice(1)) {
      t.equal(await show(service, verify, access), good, 'verify does not look at the user')
      t.equal(await show(service, verify, refresh), good)
    }
  }
  await app.stores.users.setActive(userId, false)
  t.equal(await logIn('dora', aPassword), failed, 'an inactive user')
  t.equal(await show(service, refresh, pairs[0].refresh), gone)
  t.equal(await show(service, blacklist, pairs[0].refresh), good, 'an inactive user can log out')
  await goodAtVerify()

  await app.stores.database.query('DELETE FROM keyturn_users WHERE id = $1', [userId])
  t.equal(await logIn('dora', aPassword), failed, 'a deleted user')
  t.equal(await show(service, refresh, pairs[1].refresh), gone)
  await goodAtVerify()
  t.equal(await show(service, blacklist, pairs[1].refresh), good, 'a deleted user can log out')
  t.equal(await show(service, blacklist, pairs[1].refresh), blacklisted, 'again')
  t.equal(await show(service, verify, pairs[1].refresh), blacklistedAtVerify)
})

t.test('a refresh token that was rotated or blacklisted', async (t) => {
  // Keyturn: within the grace, which Simple JWT does not have, verify takes what refresh takes.
  const service = await openApp(t, { SIGNING_KEY: secret, REFRESH_REUSE_GRACE: '0' })
  const { refresh: first } = await service.logIn('rotated')
  const { refresh: second } = (await service.post(refresh, { refresh: first })).json()
  t.equal(await show(service, verify, first), blacklistedAtVerify)
  t.equal(await show(service, verify, second), good)
  t.equal(await show(service, blacklist, first), good, 'a superseded token can still log out')
  t.equal(await show(service, verify, second), blacklistedAtVerify)
  for (const token of [first, second]) {
    t.equal(await show(service, refresh, token), blacklisted)
    t.equal(await show(service, blacklist, token), blacklisted)
  }
})

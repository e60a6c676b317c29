/*
 * What Simple JWT's settings change in its tokens and answers. Cases that begin with "Keyturn:" differ on purpose, and say how.
 */
import { createHash } from 'node:crypto'
import t from 'tap'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { decodePart, signShared } from '../support/forger.ts'

const secret = 'a secret that SIGNING_KEY shares with the tests'

/** A token as another holder of the secret makes it. */
const sign = (claims: object): string => signShared(secret, claims)

const claimsOf = (token: string): Record<string, unknown> => decodePart(token, 1)

const verify = '/api/token/verify/'
const refresh = '/api/token/refresh/'

const refused = (detail: string): string => `401 ${JSON.stringify({ detail, code: 'token_not_valid' })}`

/** Sends a token to an endpoint that expects it in the body. */
async function show({ post }: TestApp, path: string, token: string): Promise<string> {
  const { statusCode, body } = await post(path, { token, refresh: token })
  return `${statusCode} ${body}`
}

/** Sends a token to an endpoint that expects it in the header; returns the status and the reason. */
async function bear({ app }: TestApp, token: string): Promise<string> {
  const answer = await app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${token}` } })
  const { detail = '', messages = [] } = answer.json<{ detail?: string; messages?: { message: string }[] }>()
  return [answer.statusCode, ...(messages.length > 0 ? messages.map(({ message }) => message) : [detail])]
    .join(' ')
    .trim()
}

t.test('claims under other names, in the same order', async (t) => {
  const names = { USER_ID_CLAIM: 'sub', TOKEN_TYPE_CLAIM: 'typ', JTI_CLAIM: 'https://example.com/jti' }
  const service = await openApp(t, { SIGNING_KEY: secret, ISSUER: 'https://id.example.com', ...names })
  const { userId, ...login } = await service.logIn()
  const [access, token] = [claimsOf(login.access), claimsOf(login.refresh)]
  t.same(Object.keys(access), ['typ', 'exp', 'iat', 'https://example.com/jti', 'sub', 'sid', 'iss'])
  t.same(Object.keys(token), ['typ', 'exp', 'iat', 'https://example.com/jti', 'sub', 'sid', 'gen', 'iss'])
  t.match(
    [access, token],
    [
      { typ: 'access', sub: userId },
      { typ: 'refresh', sub: userId }
    ]
  )
  for (const each of Object.values(login)) t.equal(await show(service, verify, each), '200 {}')
  t.equal(await bear(service, login.access), '200')
  t.match(await show(service, refresh, login.refresh), /^200 /)

  const { 'https://example.com/jti': _, ...noId } = access
  t.equal(await show(service, verify, sign({ ...noId, jti: 'x' })), refused('Token has no id'), 'the name counts')
  t.equal(await bear(service, sign({ ...access, typ: 'other' })), '401 Token has wrong type')
  t.equal(await bear(service, sign({ ...access, typ: undefined, token_type: 'access' })), '401 Token has no type')
  t.equal(await show(service, verify, sign({ ...access, sub: 7 })), refused('Token is invalid'), 'sub is a text')
  t.equal(
    await bear(service, sign({ ...access, sub: undefined, user_id: userId })),
    '401 Token contained no recognizable user identification'
  )
  const metadata = await service.app.inject('/.well-known/openid-configuration')
  const supported = 'iss sub aud exp iat https://example.com/jti sid typ client_id scope'
  t.equal(metadata.json().claims_supported.join(' '), supported, 'each once')
})

t.test('JTI_CLAIM=none: a token of others needs no id', async (t) => {
  const service = await openApp(t, { SIGNING_KEY: secret, JTI_CLAIM: 'none' })
  const login = await service.logIn()
  const { jti, ...noId } = claimsOf(login.access)
  t.match(jti, /^[0-9a-f]{32}$/, 'Keyturn: its own have one all the same')
  t.equal(await show(service, verify, sign(noId)), '200 {}')
  t.equal(await bear(service, sign(noId)), '200')
  t.equal(
    await show(service, verify, sign({ ...noId, jti: 7 })),
    refused('Token is invalid'),
    'one that is there is a text'
  )
  const { jti: proof, ...unproven } = claimsOf(login.refresh)
  t.equal(
    await show(service, refresh, sign(unproven)),
    refused('Token is invalid'),
    'Keyturn: a refresh token is ours by it'
  )
  t.match(await show(service, refresh, sign({ ...unproven, jti: proof })), /^200 /)
  const headers = { authorization: `Bearer ${sign(noId)}` }
  t.equal((await service.app.inject({ method: 'DELETE', url: '/api/sessions/', headers })).statusCode, 204)
  t.match(await show(service, refresh, login.refresh), /^401 /, 'its session can be ended as any other')
})

t.test('TOKEN_TYPE_CLAIM=none: a token of others needs no type', async (t) => {
  const service = await openApp(t, { SIGNING_KEY: secret, TOKEN_TYPE_CLAIM: 'none' })
  const login = await service.logIn()
  const { token_type, ...noType } = claimsOf(login.access)
  t.equal(token_type, 'access', 'Keyturn: its own have one all the same')
  t.equal(await bear(service, sign(noType)), '200')
  t.equal(
    await bear(service, login.refresh),
    '401 Token has wrong type',
    'Keyturn: a refresh token is not an access token'
  )
  const { token_type: _, ...noTypeEither } = claimsOf(login.refresh)
  t.equal(
    await bear(service, sign(noTypeEither)),
    '401 Token has no type',
    'not even one made under another TOKEN_TYPE_CLAIM'
  )
  t.equal(await show(service, refresh, sign(noType)), refused('Token is invalid'))
  t.equal(await show(service, refresh, login.access), refused('Token has wrong type'))
  t.match(await show(service, refresh, login.refresh), /^200 /)
})

t.test('USER_ID_FIELD=username: tokens name the user', async (t) => {
  const service = await openApp(t, { USER_ID_FIELD: 'username' })
  const { access, refresh: token } = await service.logIn('Ann \u{1f511}')
  for (const each of [access, token]) t.equal(claimsOf(each).user_id, 'Ann \u{1f511}')
  const next = (await service.post(refresh, { refresh: token })).json()
  t.equal(claimsOf(next.refresh).user_id, 'Ann \u{1f511}')
  const headers = { authorization: `Bearer ${next.access}` }
  t.equal((await service.app.inject({ url: '/api/sessions/', headers })).json().sessions.length, 1)
  const change = { current_password: aPassword, new_password: 'another horse' }
  t.equal((await service.post('/api/password/', change, headers)).statusCode, 204)
  t.equal((await service.app.inject({ method: 'DELETE', url: '/api/sessions/', headers })).statusCode, 204)
  t.equal(await show(service, refresh, next.refresh), refused('Token is blacklisted'))
  t.match(service.log.at(-1), { user_id: 'Ann \u{1f511}' })
})

t.test('CHECK_USER_IS_ACTIVE=false: an inactive user is let in', async (t) => {
  const service = await openApp(t, { CHECK_USER_IS_ACTIVE: 'false' })
  const { userId, ...login } = await service.logIn()
  await service.app.stores.users.setActive(userId, false)
  t.equal(await bear(service, login.access), '200')
  t.match(await show(service, refresh, login.refresh), /^200 /)
  const again = await service.post('/api/token/', { username: 'vitor', password: aPassword })
  t.equal(again.statusCode, 200, 'Keyturn: at a login too, where Django has a backend for it')
  await service.app.stores.users.delete(userId)
  t.match(await show(service, refresh, login.refresh), /^401 .*No active account found for the given token\./)
})

t.test('UPDATE_LAST_LOGIN', async (t) => {
  const lastLogin = async ({ app }: TestApp): Promise<number | undefined> =>
    (await app.stores.users.findByUsername('vitor'))?.lastLoginAt
  const off = await openApp(t)
  await off.logIn()
  t.equal(await lastLogin(off), undefined)
  const on = await openApp(t, { UPDATE_LAST_LOGIN: 'true' })
  const { refresh: token } = await on.logIn()
  const first = on.clock()
  t.equal(await lastLogin(on), first)
  on.clock.advance(60)
  await on.post(refresh, { refresh: token })
  await on.post('/api/token/', { username: 'vitor', password: 'wrong horse' })
  t.equal(await lastLogin(on), first, 'neither a refresh nor a failed login counts')
  await on.post('/api/token/', { username: 'vitor', password: aPassword })
  t.equal(await lastLogin(on), first + 60)
})

t.test('CHECK_REVOKE_TOKEN: a token ends with the password it was made under', async (t) => {
  const service = await openApp(t, { SIGNING_KEY: secret, CHECK_REVOKE_TOKEN: 'true' })
  const { users } = service.app.stores
  const { userId, access, refresh: token } = await service.logIn()
  const md5 = createHash('md5')
    .update((await users.findById(userId))?.passwordHash ?? '')
    .digest('hex')
    .toUpperCase()
  t.same(Object.keys(claimsOf(access)), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid', 'hash_password'])
  t.same(Object.keys(claimsOf(token)).slice(-3), ['sid', 'gen', 'hash_password'])
  for (const each of [access, token]) t.equal(claimsOf(each).hash_password, md5)
  const next = (await service.post(refresh, { refresh: token })).json()
  t.equal(claimsOf(next.refresh).hash_password, md5)
  t.equal((await service.post(refresh, { refresh: token })).json().refresh, next.refresh, 'a retry gets the very same')
  t.equal(await bear(service, next.access), '200')
  const { hash_password: _, ...unbound } = claimsOf(next.access)
  const changed = "401 The user's password has been changed."
  t.equal(await bear(service, sign(unbound)), changed, 'one that does not say it')
  t.equal(await bear(service, sign({ ...unbound, hash_password: md5.toLowerCase() })), changed)

  const headers = { authorization: `Bearer ${next.access}` }
  const change = { current_password: aPassword, new_password: 'another horse' }
  t.equal((await service.post('/api/password/', change, headers)).statusCode, 204)
  const answer = await service.app.inject({ url: '/api/sessions/', headers })
  t.equal(answer.body, JSON.stringify({ detail: "The user's password has been changed.", code: 'password_changed' }))
  t.equal(answer.statusCode, 401)
  for (const each of [next.access, next.refresh]) {
    t.equal(await show(service, verify, each), '200 {}', 'verify does not look at the user')
  }
  t.equal(await show(service, refresh, next.refresh), `401 {"detail":"The user's password has been changed."}`)
  t.match(service.log.at(-1), { refusal: 'PASSWORD_CHANGED', user_id: userId, sid: claimsOf(token).sid })
  t.equal(
    await show(service, refresh, next.refresh),
    refused('Token is blacklisted'),
    'and it was blacklisted on the way'
  )
  t.equal(await show(service, verify, next.refresh), '400 {"non_field_errors":["Token is blacklisted"]}')
  await users.setActive(userId, false)
  t.match(await show(service, refresh, next.refresh), /No active account found for the given token/, 'asked before')
})

t.test('CHECK_REVOKE_TOKEN: a login that replaces the digest issues tokens for the new one', async (t) => {
  const service = await openApp(t, { CHECK_REVOKE_TOKEN: 'true' })
  // `aPassword`, by Django 3.2.25.
  const digest = 'pbkdf2_sha256$1000$rgD72Yw1NsNpgCm3qixqtt$RbdHgGJC/ZAdkG1yGajD/A60J0Qymkio5X6p+u1BP90='
  await service.app.stores.users.create('vitor', digest)
  const answer = await service.post('/api/token/', { username: 'vitor', password: aPassword })
  t.match(service.log.at(-1), { rehash: 'done' })
  t.equal(await bear(service, answer.json().access), '200')
  t.match(await show(service, refresh, answer.json().refresh), /^200 /)
})

t.test('REVOKE_TOKEN_CLAIM', async (t) => {
  const service = await openApp(t, { CHECK_REVOKE_TOKEN: 'true', REVOKE_TOKEN_CLAIM: 'pw' })
  const login = await service.logIn()
  t.match(claimsOf(login.access), { pw: /^[0-9A-F]{32}$/ })
  t.equal(await bear(service, login.access), '200')
  t.match(await show(service, refresh, login.refresh), /^200 /)
})

t.test('CHECK_REVOKE_TOKEN=false: a password change lets the caller go on', async (t) => {
  const service = await openApp(t)
  const { userId, access, refresh: token } = await service.logIn()
  t.notOk('hash_password' in claimsOf(access))
  await service.app.stores.users.setPassword(userId, 'another digest')
  t.equal(await bear(service, access), '200')
  t.match(await show(service, refresh, token), /^200 /)
})

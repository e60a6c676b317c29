/*
 * What Simple JWT says of sliding tokens, recorded from its newest source on a live server. Cases that begin with "Keyturn:"
 * differ on purpose, and say how.
 */
import t from 'tap'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { decodePart, signShared } from '../support/forger.ts'

const secret = 'a secret that SIGNING_KEY shares with the tests'
const sign = (claims: object): string => signShared(secret, claims)
const claimsOf = (token: string): Record<string, unknown> => decodePart(token, 1)

const obtain = '/api/token/sliding/'
const refresh = '/api/token/sliding/refresh/'
const verify = '/api/token/verify/'
const blacklist = '/api/token/blacklist/'

const refused = (detail: string): string => `401 ${JSON.stringify({ detail, code: 'token_not_valid' })}`
const blacklistedAtVerify = '400 {"non_field_errors":["Token is blacklisted"]}'

const openSliding = (env: Record<string, string> = {}): Promise<TestApp> =>
  openApp(t, { SIGNING_KEY: secret, SLIDING_TOKENS: 'true', ...env })

/** Sends a token under both field names that an endpoint may expect; returns status and body. */
async function show({ post }: TestApp, path: string, token: string): Promise<string> {
  const { statusCode, body, headers } = await post(path, { token, refresh: token })
  const challenge = headers['www-authenticate'] === (statusCode === 401 ? 'Bearer realm="api"' : undefined)
  return `${statusCode} ${body}${challenge ? '' : ', with a wrong challenge'}`
}

/** Adds a user and logs in. */
async function logIn({ addUser, post }: TestApp, username: string): Promise<string> {
  await addUser(username, aPassword)
  return (await post(obtain, { username, password: aPassword })).json().token
}

/** Shows a token that is expected to be good to refresh. */
async function renew({ post }: TestApp, token: string): Promise<string> {
  const answer = await post(refresh, { token })
  return answer.statusCode === 200 ? answer.json().token : Promise.reject(new Error(answer.body))
}

t.test('404 unless SLIDING_TOKENS', async (t) => {
  const service = await openApp(t)
  for (const path of [obtain, refresh]) {
    for (const method of ['POST', 'GET', 'OPTIONS'] as const) {
      const answer = await service.app.inject({ method, url: path })
      t.equal(`${answer.statusCode} ${answer.body}`, '404 {"detail":"Not found."}')
    }
  }
})

t.test('a login', async (t) => {
  const service = await openSliding()
  const { id } = await service.addUser('vitor', aPassword)
  const answer = await service.post(obtain, { username: 'vitor', password: aPassword })
  t.equal(answer.statusCode, 200)
  t.same(Object.keys(answer.json()), ['token'])
  t.equal(answer.headers['cache-control'], 'no-store')
  const { token } = answer.json()
  const now = service.clock()
  t.match(decodePart(token, 0), { alg: 'HS256', typ: 'JWT' })
  t.same(Object.keys(claimsOf(token)), ['token_type', 'exp', 'iat', 'jti', 'refresh_exp', 'user_id', 'sid'])
  t.match(claimsOf(token), {
    token_type: 'sliding',
    exp: now + 300,
    iat: now,
    jti: /^[0-9a-f]{32}$/,
    refresh_exp: now + 86_400,
    user_id: id,
    sid: /^[0-9a-f]{32}$/
  })
  const failed = '401 {"detail":"No active account found with the given credentials"}'
  const attempt = async (username: string, password: string): Promise<string> => {
    const { statusCode, body } = await service.post(obtain, { username, password })
    return `${statusCode} ${body}`
  }
  t.equal(await attempt('vitor', 'wrong horse'), failed)
  t.equal(await attempt('unknown', aPassword), failed)
  await service.app.stores.users.setActive(id, false)
  t.equal(await attempt('vitor', aPassword), failed)
})

t.test('a refresh: the same jti and refresh_exp, a new exp and iat; the old one stays good', async (t) => {
  const service = await openSliding({ ISSUER: 'https://id.example.com', AUDIENCE: 'shop' })
  const first = await logIn(service, 'vitor')
  service.clock.advance(100)
  const answer = await service.post(refresh, { token: first })
  t.equal(answer.statusCode, 200)
  t.same(Object.keys(answer.json()), ['token'])
  t.equal(answer.headers['cache-control'], 'no-store')
  const second = answer.json().token
  const now = service.clock()
  t.same(claimsOf(second), { ...claimsOf(first), exp: now + 300, iat: now })
  t.same(Object.keys(claimsOf(second)).slice(-2), ['aud', 'iss'])
  for (const token of [first, second]) t.equal(await show(service, verify, token), '200 {}')
  t.equal(claimsOf(await renew(service, first)).exp, now + 300, 'and can be refreshed again')
  service.clock.advance(200)
  t.equal(await show(service, refresh, first), refused('Token is expired'), 'past exp, whatever refresh_exp says')
  t.equal(await show(service, verify, second), '200 {}')
})

t.test('refresh_exp, to the second', async (t) => {
  for (const leeway of [0, 10]) {
    const service = await openSliding({ SLIDING_TOKEN_REFRESH_LIFETIME: '10m', LEEWAY: String(leeway) })
    let token = await logIn(service, 'vitor')
    const end = Number(claimsOf(token).refresh_exp) + leeway
    for (const until of [end - 400, end - 200, end - 1]) {
      service.clock.advance(until - service.clock())
      token = await renew(service, token)
    }
    t.equal(claimsOf(token).exp, service.clock() + 300, 'a token may be good for longer than it may be refreshed')
    service.clock.advance(1)
    t.equal(await show(service, refresh, token), refused("Token 'refresh_exp' claim has expired"))
    t.equal(await show(service, verify, token), '200 {}')
  }
})

t.test('invalid tokens are refused', async (t) => {
  const service = await openSliding()
  const now = service.clock()
  const ours = claimsOf(await logIn(service, 'vitor'))
  const without = (name: string): object => ({ ...ours, [name]: undefined })
  const { access, refresh: pairRefresh } = await service.logIn('pair')
  const rows: readonly (readonly [name: string, token: string, answer: string])[] = [
    ['a word', 'x', refused('Token is invalid')],
    ['another secret', signShared(`${secret}!`, ours), refused('Token is invalid')],
    ['expired just now', sign({ ...ours, exp: now }), refused('Token is expired')],
    ['no exp', sign(without('exp')), refused("Token has no 'exp' claim")],
    ['no jti (Keyturn: not a 500)', sign(without('jti')), refused('Token has no id')],
    ['no type', sign(without('token_type')), refused('Token has no type')],
    ['an access token', access, refused('Token has wrong type')],
    ['a refresh token', pairRefresh, refused('Token has wrong type')],
    ['no refresh_exp', sign(without('refresh_exp')), refused("Token has no 'refresh_exp' claim")],
    ['refresh_exp just now', sign({ ...ours, refresh_exp: now }), refused("Token 'refresh_exp' claim has expired")],
    [
      'Keyturn: refresh_exp is a text, not a 500',
      sign({ ...ours, refresh_exp: `${now}` }),
      refused('Token is invalid')
    ],
    ['Keyturn: another jti', sign({ ...ours, jti: 'f'.repeat(32) }), refused('Token is invalid')],
    ["Keyturn: somebody else's name", sign({ ...ours, user_id: '1' }), refused('Token is invalid')],
    ['Keyturn: no user', sign(without('user_id')), refused('Token is invalid')],
    ['Keyturn: a token that is not ours', sign(without('sid')), refused('Token is invalid')]
  ]
  for (const [name, token, answer] of rows) t.equal(await show(service, refresh, token), answer, name)
  const pairSid = claimsOf(access).sid
  t.equal(await show(service, refresh, sign({ ...ours, sid: pairSid })), refused('Token is invalid'))
  t.match(await show(service, '/api/token/refresh/', pairRefresh), /^200 /, 'nor does it harm the session of another')
  t.match(await show(service, refresh, sign(ours)), /^200 /, 'signed again with the same claims it is the same token')
  t.equal(await show(service, '/api/token/refresh/', sign(ours)), refused('Token has wrong type'))
})

t.test('verify takes those of others, by their claims, as it takes access tokens', async (t) => {
  const service = await openSliding()
  const now = service.clock()
  const foreign = { token_type: 'sliding', exp: now + 60, iat: now, jti: 'x', refresh_exp: now + 600, user_id: '1' }
  t.equal(await show(service, verify, sign(foreign)), '200 {}')
  t.equal(await show(service, verify, sign({ ...foreign, exp: now })), refused('Token is expired'))
  t.equal(await show(service, verify, sign({ ...foreign, sid: 'f'.repeat(32) })), refused('Token is invalid'))
})

t.test('the user is asked about at a refresh, and not at verify', async (t) => {
  const service = await openSliding()
  const { users } = service.app.stores
  const token = await logIn(service, 'vitor')
  const userId = String(claimsOf(token).user_id)
  const gone = '401 {"detail":"No active account found for the given token."}'
  await users.setActive(userId, false)
  t.equal(await show(service, refresh, token), gone)
  const { refresh_exp: _, ...endless } = claimsOf(token)
  t.equal(await show(service, refresh, sign(endless)), gone, 'before refresh_exp')
  await users.setActive(userId, true)
  t.match(await show(service, refresh, token), /^200 /)
  await users.delete(userId)
  t.equal(await show(service, refresh, token), gone)
  t.equal(await show(service, verify, token), '200 {}')
})

t.test('CHECK_REVOKE_TOKEN', async (t) => {
  const service = await openSliding({ CHECK_REVOKE_TOKEN: 'true' })
  const token = await renew(service, await logIn(service, 'vitor'))
  t.same(Object.keys(claimsOf(token)).slice(-3), ['user_id', 'sid', 'hash_password'])
  await service.app.stores.users.setPassword(String(claimsOf(token).user_id), 'another digest')
  t.equal(await show(service, refresh, token), `401 {"detail":"The user's password has been changed."}`)
  t.equal(await show(service, refresh, token), refused('Token is blacklisted'))
})

t.test('a token that was blacklisted, with all that have its jti', async (t) => {
  const service = await openSliding()
  const first = await logIn(service, 'vitor')
  const second = await renew(service, first)
  const other = (await service.post(obtain, { username: 'vitor', password: aPassword })).json().token
  t.equal(
    await show(service, blacklist, first),
    '200 {}',
    "Keyturn: the endpoint accepts it; Simple JWT's only accepts refresh tokens"
  )
  t.match(service.log.at(-1), { event: 'logout', sid: claimsOf(first).sid })
  for (const token of [first, second]) {
    t.equal(await show(service, verify, token), blacklistedAtVerify)
    t.equal(await show(service, refresh, token), refused('Token is blacklisted'))
    t.equal(await show(service, blacklist, token), refused('Token is blacklisted'))
  }
  t.match(await show(service, refresh, other), /^200 /)
  t.equal(await show(service, blacklist, (await service.logIn('pair')).access), refused('Token has wrong type'))

  const off = await openApp(t, { SIGNING_KEY: secret })
  t.equal(await show(off, blacklist, other), refused('Token has wrong type'), 'without SLIDING_TOKENS it does not')
})

t.test('other names: SLIDING_TOKEN_REFRESH_EXP_CLAIM', async (t) => {
  const service = await openSliding({ SLIDING_TOKEN_REFRESH_EXP_CLAIM: 'until', SLIDING_TOKEN_LIFETIME: '1h' })
  const token = await logIn(service, 'vitor')
  const { until, ...endless } = claimsOf(token)
  t.match(claimsOf(token), { exp: service.clock() + 3600, until: service.clock() + 86_400 })
  t.equal(claimsOf(await renew(service, token)).until, until)
  t.equal(await show(service, refresh, sign(endless)), refused("Token has no 'until' claim"))
})

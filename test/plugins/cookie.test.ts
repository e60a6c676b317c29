/* COOKIE_MODE: the refresh token travels in a cookie, and only pages that may use it get anywhere with it. */
import { Readable } from 'node:stream'
import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { decodePart } from '../support/forger.ts'

const on = { COOKIE_MODE: 'on' }
const obtain = '/api/token/'
const refresh = '/api/token/refresh/'
const blacklist = '/api/token/blacklist/'
/** What a browser sends with a request from our own page. */
const ownPage = { host: 'id.example.com', origin: 'http://id.example.com', 'sec-fetch-site': 'same-origin' }

const refused = { detail: 'This origin may not use the refresh cookie.' }

/** Logs in, and gives the refresh cookie as a browser would send it back. */
async function logIn({ addUser, post }: TestApp, name = '__Host-refresh'): Promise<string> {
  await addUser('vitor', aPassword)
  const { headers } = await post(obtain, { username: 'vitor', password: aPassword })
  const cookie = /^([^=]+)=([^;]+)/.exec(String(headers['set-cookie']))
  return cookie?.[1] === name ? cookie[0] : Promise.reject(new Error(`got ${headers['set-cookie']}`))
}

t.test('a browser logs in, refreshes and logs out without ever seeing the refresh token', async (t) => {
  const service = await openApp(t, on)
  const { addUser, post } = service
  await addUser('vitor', aPassword)
  const login = await post(obtain, { username: 'vitor', password: aPassword }, ownPage)
  t.equal(login.statusCode, 200)
  t.match(login.body, /^{"access":"[^"]+"}$/)
  t.equal(login.headers['cache-control'], 'no-store')
  const attributes = 'Max-Age=86400; Path=/; HttpOnly; Secure; SameSite=Strict'
  t.match(login.headers['set-cookie'], new RegExp(`^__Host-refresh=[\\w-]+\\.[\\w-]+\\.[\\w-]+; ${attributes}$`))

  const [cookie = ''] = String(login.headers['set-cookie']).split(';')
  const renewed = await post(refresh, undefined, { ...ownPage, cookie })
  t.equal(renewed.statusCode, 200)
  t.match(renewed.body, /^{"access":"[^"]+"}$/)
  const [next = ''] = String(renewed.headers['set-cookie']).split(';')
  t.match(next, /^__Host-refresh=/)
  t.not(next, cookie)

  const logout = await post(blacklist, undefined, { ...ownPage, cookie: next })
  t.equal(logout.body, '{}')
  const cleared = 'Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Strict'
  t.equal(logout.headers['set-cookie'], `__Host-refresh=; ${cleared}`)
  const after = await post(refresh, {}, { ...ownPage, cookie: next })
  t.equal(after.statusCode, 401)
})

t.test('a refresh token in the body is for apps, which send no Origin', async (t) => {
  const service = await openApp(t, on)
  const token = (await logIn(service)).slice('__Host-refresh='.length)
  const renewed = await service.post(refresh, { refresh: token })
  t.equal(renewed.statusCode, 200)
  t.match(renewed.body, /^{"access":"[^"]+"}$/, 'the successor is in the cookie all the same')
  const successor = /^__Host-refresh=([^;]+)/.exec(String(renewed.headers['set-cookie']))?.[1]
  t.equal((await service.post(blacklist, { refresh: successor })).statusCode, 200)
})

t.test('of a token in a chunked body and one in the cookie, that of the body is used', async (t) => {
  const service = await openApp(t, on)
  const { addUser, app, post } = service
  await addUser('vitor', aPassword)
  const logIn = async () => tokenIn(await post(obtain, { username: 'vitor', password: aPassword }))
  const bodies: readonly (readonly [type: string, encode: (token: string) => string])[] = [
    ['application/json', (token) => JSON.stringify({ refresh: token })],
    ['application/x-www-form-urlencoded', (token) => `refresh=${token}`],
    [
      'multipart/form-data; boundary=x',
      (token) => `--x\r\nContent-Disposition: form-data; name="refresh"\r\n\r\n${token}\r\n--x--\r\n`
    ]
  ]
  for (const [type, encode] of bodies) {
    const [inCookie, inBody] = [await logIn(), await logIn()]
    const cookie = `__Host-refresh=${inCookie}`
    const sendChunked = (url: string, token: string) => {
      const [text, headers] = [encode(token), { 'content-type': type, 'transfer-encoding': 'chunked' }]
      const payload = Readable.from([text.slice(0, 5), text.slice(5)])
      return app.inject({ method: 'POST', url, headers: { ...ownPage, ...headers, cookie }, payload })
    }
    const renewed = await sendChunked(refresh, inBody)
    t.equal(decodePart(tokenIn(renewed), 1).sid, decodePart(inBody, 1).sid, `${type}: a refresh`)
    t.equal((await sendChunked(blacklist, tokenIn(renewed))).statusCode, 200)
    t.equal((await post(refresh, { refresh: tokenIn(renewed) })).statusCode, 401, `${type}: a logout`)
    t.equal((await post(refresh, {}, { ...ownPage, cookie })).statusCode, 200, 'the session of the cookie goes on')
  }
})

t.test('who may use the cookie', async (t) => {
  const service = await openApp(t, { ...on, COOKIE_ORIGINS: 'https://app.example.com' })
  const cookie = await logIn(service)
  const host = 'id.example.com'
  const own = 'http://id.example.com'
  const rows: readonly (readonly [name: string, headers: Record<string, string>, status: number])[] = [
    ['our own page', { host, origin: own, 'sec-fetch-site': 'same-origin' }, 200],
    ['our own page, in a browser without Fetch Metadata', { host, origin: own }, 200],
    ['our own page, in a browser that leaves Origin out', { host, 'sec-fetch-site': 'same-origin' }, 200],
    ['a page of COOKIE_ORIGINS', { host, origin: 'https://app.example.com', 'sec-fetch-site': 'same-site' }, 200],
    ['the same, from another site', { host, origin: 'https://app.example.com', 'sec-fetch-site': 'cross-site' }, 200],
    ['no word of where it comes from', { host }, 403],
    ['another origin', { host, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 403],
    ['another origin, without Fetch Metadata', { host, origin: 'https://evil.example' }, 403],
    ['another scheme', { host, origin: 'https://id.example.com' }, 403],
    ['another port', { host, origin: `${own}:8080` }, 403],
    ['a sibling', { host, origin: 'https://blog.example.com', 'sec-fetch-site': 'same-site' }, 403],
    ['a page without an origin', { host, origin: 'null' }, 403],
    ['a page of COOKIE_ORIGINS, spelled otherwise', { host, origin: 'https://app.example.com.evil.example' }, 403],
    ['our own origin, though the browser says otherwise', { host, origin: own, 'sec-fetch-site': 'cross-site' }, 403],
    ['the same from a sibling', { host, origin: own, 'sec-fetch-site': 'same-site' }, 403],
    ['a link or a form of another site, without Origin', { host, 'sec-fetch-site': 'cross-site' }, 403],
    ['typed by the user', { host, 'sec-fetch-site': 'none' }, 403]
  ]
  for (const [name, headers, status] of rows) {
    const answer = await service.post(refresh, {}, { ...headers, cookie })
    t.equal(answer.statusCode, status, name)
    if (status === 403) {
      t.same(answer.json(), refused)
      t.equal(answer.headers['set-cookie'], undefined)
      t.equal((await service.post(blacklist, {}, { ...headers, cookie })).statusCode, 403, `${name}: logout`)
    }
  }
})

t.test('a page elsewhere can neither set nor clear the cookie, whatever token it sends', async (t) => {
  const { addUser, post } = await openApp(t, on)
  await addUser('vitor', aPassword)
  const credentials = { username: 'vitor', password: aPassword }
  const host = 'id.example.com'
  const elsewhere = [
    { host, origin: 'https://evil.example' },
    { host, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    { host, origin: 'null' },
    { host, 'sec-fetch-site': 'cross-site' },
    { host, 'sec-fetch-site': 'same-site' }
  ]
  const tokenOf = async () => tokenIn(await post(obtain, credentials))
  for (const headers of elsewhere) {
    const token = await tokenOf()
    for (const [path, body] of [
      [obtain, credentials],
      [refresh, { refresh: token }],
      [blacklist, { refresh: token }]
    ] as const) {
      const answer = await post(path, body, headers)
      t.equal(answer.statusCode, 403, `${path} ${JSON.stringify(headers)}`)
      t.same(answer.json(), refused)
      t.equal(answer.headers['set-cookie'], undefined)
    }
    t.equal((await post(refresh, { refresh: token })).statusCode, 200, 'the session goes on')
  }
  for (const headers of [ownPage, {}]) {
    t.equal((await post(obtain, credentials, headers)).statusCode, 200, 'our own page, and an app, which has no Origin')
    const renewed = await post(refresh, { refresh: await tokenOf() }, headers)
    t.equal(renewed.statusCode, 200)
    t.equal((await post(blacklist, { refresh: tokenIn(renewed) }, headers)).statusCode, 200)
  }
})

/** The refresh token that an answer sets. */
const tokenIn = ({ headers }: LightMyRequestResponse): string =>
  /^[^=]+=([^;]+)/.exec([headers['set-cookie']].flat().join())?.[1] ?? ''

t.test('of two cookies of the same name each is tried, and the other variant is cleared', async (t) => {
  const name = 'rt'
  const service = await openApp(t, { ...on, COOKIE_NAME: name, COOKIE_DOMAIN: '.Example.COM' })
  const { addUser, clock, post } = service
  await addUser('vitor', aPassword)
  const logIn = async () => tokenIn(await post(obtain, { username: 'vitor', password: aPassword }))
  const ask = (path: string, ...tokens: readonly string[]) =>
    post(path, {}, { ...ownPage, cookie: `a=b; ${tokens.map((token) => `${name}=${token}`).join('; ')}; c=d` })
  const old = await logIn()
  const ended = await logIn()
  t.equal((await ask(blacklist, ended)).statusCode, 200)
  const current = tokenIn(await ask(refresh, old))
  clock.advance(1000)
  const fresh = tokenIn(await ask(refresh, current))
  clock.advance(1000)
  let newest = fresh
  for (const stale of ['', '%', 'x.y.z', ended, old, current]) {
    for (const isFirst of [true, false]) {
      const answer = await ask(refresh, ...(isFirst ? [stale, newest] : [newest, stale]))
      t.equal(answer.statusCode, 200, `beside ${stale.slice(0, 8)}`)
      const [set, cleared, ...more] = [answer.headers['set-cookie']].flat()
      t.match(set, /^rt=[^;]+; Max-Age=86400; Domain=example\.com; Path=\//)
      t.match(cleared, /^rt=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970/, 'the variant without a domain')
      t.same(more, [])
      newest = tokenIn(answer)
      clock.advance(1000)
    }
  }
  t.equal([(await ask(refresh, newest)).headers['set-cookie']].flat().length, 1, 'one cookie alone clears none')
  // Its answer may reach the browser after that of a login in another tab, whose cookie it would delete.
  const failed = await ask(refresh, ended, 'x')
  t.equal(failed.statusCode, 401)
  t.equal(failed.headers['set-cookie'], undefined, 'a refresh that fails clears none')

  const again = await logIn()
  const logout = await ask(blacklist, ended, again)
  t.equal(logout.statusCode, 200)
  t.match(
    logout.headers['set-cookie'],
    [/^rt=; Max-Age=0; Domain=example\.com; Path=\//, /^rt=; Max-Age=0; Path=\//],
    'a logout clears both variants'
  )
  t.equal((await ask(refresh, again)).statusCode, 401)
})

t.test('a logout clears a cookie whose token is refused, and no other', async (t) => {
  const [hostOnly, ofDomain] = [/^rt=; Max-Age=0; Path=\//, /^rt=; Max-Age=0; Domain=example\.com; Path=\//]
  for (const [settings, cleared] of [
    [{}, [hostOnly]],
    [{ COOKIE_DOMAIN: 'example.com' }, [ofDomain, hostOnly]]
  ] as const) {
    const service = await openApp(t, { ...on, COOKIE_NAME: 'rt', ...settings })
    const cookie = await logIn(service, 'rt')
    const logOut = (headers: Record<string, string>, body: object = {}) => service.post(blacklist, body, headers)
    t.equal((await logOut({ ...ownPage, cookie })).statusCode, 200)
    for (const dead of [cookie, 'rt=x.y.z', `rt=%; ${cookie}`]) {
      const answer = await logOut({ ...ownPage, cookie: dead })
      t.equal(answer.statusCode, 401)
      const set = [answer.headers['set-cookie']].flat()
      t.match(set, cleared, dead.slice(0, 8))
      t.equal(set.length, cleared.length)
    }
    const others = [
      await logOut({ ...ownPage, origin: 'https://evil.example', cookie }),
      await logOut({ ...ownPage, cookie }, { refresh: 'x.y.z' }),
      await logOut(ownPage)
    ]
    t.same(
      others.map(({ statusCode, headers }) => [statusCode, headers['set-cookie']]),
      [403, 401, 400].map((status) => [status, undefined])
    )
  }
})

t.test('a logout that may not have ended the session keeps the cookie', async (t) => {
  const service = await openApp(t, { ...on, COOKIE_NAME: 'rt' })
  const cookie = await logIn(service, 'rt')
  const revoke = t.intercept(service.app.stores.sessions, 'revoke', {
    value: () => Promise.reject(new KeyturnError('STORE_DOWN'))
  })
  const answer = await service.post(blacklist, {}, { ...ownPage, cookie })
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['set-cookie'], undefined)
  revoke.restore()
  t.equal((await service.post(blacklist, {}, { ...ownPage, cookie })).statusCode, 200)
})

t.test('origins are compared after normalisation, and apps have some too', async (t) => {
  const apps = 'capacitor://localhost ionic://localhost chrome-extension://abcdefghijklmnopabcdefghijklmnop'
  const service = await openApp(t, { ...on, COOKIE_ORIGINS: `HTTPS://App.Example.com:443 ${apps}` })
  let cookie = await logIn(service)
  const rows: readonly (readonly [headers: Record<string, string>, status: number])[] = [
    [{ host: 'id.example.com', origin: 'https://app.example.com' }, 200],
    [{ host: 'id.example.com', origin: 'https://app.example.com:444' }, 403],
    ...apps.split(' ').map((origin) => [{ host: 'id.example.com', origin }, 200] as const),
    [{ host: 'id.example.com', origin: 'capacitor://other' }, 403],
    [{ host: 'id.example.com', origin: 'http://localhost' }, 403],
    [{ host: 'ID.example.com:80', origin: 'http://id.example.com' }, 200],
    [{ host: 'id.example.com:443', origin: 'https://id.example.com', 'x-forwarded-proto': 'HTTPS' }, 200],
    [{ host: 'id.example.com', origin: 'https://id.example.com:443', 'x-forwarded-proto': 'Https' }, 200],
    [{ host: 'id.example.com:443', origin: 'http://id.example.com', 'x-forwarded-proto': 'HTTPS' }, 403],
    [{ host: 'id.example.com:80', origin: 'https://id.example.com', 'x-forwarded-proto': 'https' }, 403]
  ]
  for (const [headers, status] of rows) {
    const answer = await service.post(refresh, {}, { ...headers, cookie })
    t.equal(answer.statusCode, status, JSON.stringify(headers))
    if (status === 200) cookie = `__Host-refresh=${tokenIn(answer)}`
  }
  const answer = await service.post(refresh, {}, { origin: 'capacitor://localhost' })
  t.equal(answer.headers['access-control-allow-origin'], 'capacitor://localhost')
})

t.test('behind a proxy our own origin is what the proxy says, if it is trusted', async (t) => {
  const service = await openApp(t, { ...on, FORWARDED_ALLOW_IPS: '10.0.0.1' })
  const cookie = await logIn(service)
  const from = async (remoteAddress: string): Promise<number> => {
    const headers = {
      host: 'internal:8000',
      origin: 'https://id.example.com',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'id.example.com',
      cookie
    }
    return (await service.app.inject({ method: 'POST', url: refresh, headers, remoteAddress })).statusCode
  }
  t.equal(await from('10.0.0.1'), 200)
  t.equal(await from('10.0.0.2'), 403)
})

t.test('without a cookie the field is required', async (t) => {
  const { post } = await openApp(t, on)
  const required = { refresh: ['This field is required.'] }
  for (const path of [refresh, blacklist]) {
    for (const headers of [ownPage, { ...ownPage, cookie: 'other=x' }]) {
      const answer = await post(path, {}, headers)
      t.equal(answer.statusCode, 400)
      t.same(answer.json(), required)
    }
    t.same((await post(path, { refresh: null }, ownPage)).json(), { refresh: ['This field may not be null.'] })
    const garbage = await post(path, {}, { ...ownPage, cookie: '__Host-refresh=%' })
    t.equal(garbage.statusCode, 401)
    t.equal(garbage.json().detail, 'Token is invalid')
  }
})

t.test('with COOKIE_MODE off the cookie is nothing', async (t) => {
  const service = await openApp(t)
  const { refresh: token } = await service.logIn()
  for (const path of [refresh, blacklist]) {
    const answer = await service.post(path, {}, { ...ownPage, cookie: `__Host-refresh=${token}` })
    t.equal(answer.statusCode, 400)
  }
  const logout = await service.post(blacklist, { refresh: token })
  t.equal(logout.headers['set-cookie'], undefined)
})

t.test('COOKIE_NAME, COOKIE_DOMAIN, COOKIE_SAMESITE', async (t) => {
  const service = await openApp(t, {
    ...on,
    COOKIE_NAME: 'rt',
    COOKIE_DOMAIN: 'example.com',
    COOKIE_SAMESITE: 'None',
    REFRESH_TOKEN_LIFETIME: '1h'
  })
  const cookie = await logIn(service, 'rt')
  const renewed = await service.post(refresh, {}, { ...ownPage, cookie })
  t.match(
    renewed.headers['set-cookie'],
    /^rt=[^;]+; Max-Age=3600; Domain=example\.com; Path=\/; HttpOnly; Secure; SameSite=None$/
  )
  const [next = ''] = String(renewed.headers['set-cookie']).split(';')
  const logout = await service.post(blacklist, {}, { ...ownPage, cookie: next })
  t.match([logout.headers['set-cookie']].flat()[0], /^rt=; .*Domain=example\.com; Path=\//)
})

t.test('without rotation a refresh sets no cookie', async (t) => {
  const service = await openApp(t, { ...on, ROTATE_REFRESH_TOKENS: 'false' })
  const cookie = await logIn(service)
  const renewed = await service.post(refresh, {}, { ...ownPage, cookie })
  t.match(renewed.body, /^{"access":"[^"]+"}$/)
  t.equal(renewed.headers['set-cookie'], undefined)
})

t.test('pages of COOKIE_ORIGINS may read the answers, and no others', async (t) => {
  const app = 'https://app.example.com'
  const { app: service, post } = await openApp(t, { ...on, COOKIE_ORIGINS: app })
  const preflight = (origin: string, url = refresh) =>
    service.inject({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': 'POST' } })
  const allowed = await preflight(app)
  t.equal(allowed.statusCode, 204)
  t.match(allowed.headers, {
    'access-control-allow-origin': app,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
    'access-control-max-age': '600'
  })
  const refused = await post(refresh, {}, { origin: app })
  t.match(refused, { statusCode: 400, headers: { 'access-control-allow-origin': app, vary: /Origin/ } })
  t.match(refused.headers, { 'access-control-expose-headers': /x-request-id/, vary: /Accept/ })
  for (const answer of [
    await preflight('https://evil.example'),
    await post(refresh, {}, { origin: 'https://evil.example' })
  ]) {
    t.equal(answer.headers['access-control-allow-origin'], undefined)
  }
  t.equal((await service.inject('/nowhere')).statusCode, 404)
  t.equal((await service.inject({ method: 'GET', url: refresh })).statusCode, 405)

  for (const env of [on, { COOKIE_ORIGINS: app }]) {
    const other = await openApp(t, env)
    const answer = await other.post(refresh, {}, { origin: app })
    t.equal(answer.headers['access-control-allow-origin'], undefined, 'only with both settings')
  }
})

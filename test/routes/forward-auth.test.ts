/* forward-auth: what proxies ask about each of their requests, in all the ways that proxies ask. */
import { get, METHODS } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t, { type Test } from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { decodePart, signShared } from '../support/forger.ts'

const endpoint = '/api/token/forward-auth/'

/** What Envoy appends the path of the original request to. */
const below = `${endpoint}_`

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

const ask = ({ app }: TestApp, headers: Record<string, string> = {}, url = endpoint, method = 'GET') =>
  app.inject({ method: method as 'GET', url, headers })

/** A user with these claims of its own, logged in. */
async function logInWith({ addUser, app, post }: TestApp, claims: object, username = 'vitor') {
  const user = await addUser(username, aPassword)
  await app.stores.users.setClaims(user.id, claims as Record<string, unknown>)
  return { ...(await post('/api/token/', { username, password: aPassword })).json(), userId: user.id }
}

t.test('which requests are allowed, and the headers of their user', async (t) => {
  const service = await openApp(t)
  const { access, userId } = await logInWith(service, { scope: 'orders.read orders.write' })
  const { sid, exp } = decodePart(access, 1)
  const answer = await ask(service, bearer(access))
  t.equal(answer.statusCode, 200)
  t.equal(answer.body, '{}')
  t.match(answer.headers, {
    'x-auth-user-id': userId,
    'x-auth-username': 'vitor',
    'x-auth-session-id': sid as string,
    'x-auth-scope': 'orders.read orders.write',
    'x-auth-expires': String(exp),
    'cache-control': 'private, max-age=0',
    vary: 'Authorization'
  })
  for (const name of ['set-cookie', 'allow', 'access-control-allow-origin', 'www-authenticate'])
    t.notOk(name in answer.headers, `no ${name}`)
  t.match(service.log.at(-1), { event: 'forward_auth', user_id: userId, sid, status: 200 })
  for (const authorization of [`bearer ${access}`, `BEARER   ${access}`])
    t.equal((await ask(service, { authorization })).statusCode, 200, 'RFC 9110 §11.1: in any case of letters')
  const other = await service.logIn('other')
  t.match((await ask(service, bearer(other.access))).headers, { 'x-auth-scope': '', 'x-auth-username': 'other' })
  const trail = await service.app.stores.database.query('SELECT event FROM keyturn_audit')
  t.same(trail, [{ event: 'login' }, { event: 'login' }], 'what is everyday is not in the audit trail')
})

t.test('any method, any path below, any Accept, and a body that is not read', async (t) => {
  const service = await openApp(t, { CORS_ORIGINS: 'https://app.example.com' })
  const { access } = await service.logIn()
  const methods = METHODS.filter((method) => method !== 'CONNECT')
  for (const method of methods) {
    t.equal((await ask(service, bearer(access), endpoint, method)).statusCode, 200, method)
    t.equal((await ask(service, {}, `${below}/orders/7/`, method)).statusCode, 401, `${method} without a token`)
  }
  const paths = [
    '/api/token/forward-auth',
    `${below}/`,
    `${below}/?scope=x`,
    `${below}/a%2Fb`,
    `${below}/${'x'.repeat(3000)}`,
    `${below}/a?b=c&scope=x`,
    `${below}//`,
    `${below}/../`,
    `${below}/%c0%af`,
    `${below}/;scope=x`
  ]
  for (const url of paths) t.equal((await ask(service, bearer(access), url)).statusCode, 200, url.slice(0, 50))
  const browser = { ...bearer(access), accept: 'image/png', origin: 'https://app.example.com', 'x-auth-user-id': 'eve' }
  const answer = await ask(service, browser)
  t.equal(answer.statusCode, 200)
  t.notMatch(
    answer.headers,
    { 'access-control-allow-origin': /./ },
    'the answer of the service behind says who may read it'
  )
  t.not(answer.headers['x-auth-user-id'], 'eve')
  const preflight = await ask(service, { ...browser, 'access-control-request-method': 'POST' }, endpoint, 'OPTIONS')
  t.equal(preflight.statusCode, 200, 'no preflight of ours')

  // On the wire: a body too large for any other endpoint, of an unknown type; the connection stays open.
  await service.app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = service.app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  const head = `Host: x\r\nAuthorization: Bearer ${access}\r\n`
  socket.write(`POST ${endpoint} HTTP/1.1\r\n${head}Content-Type: image/png\r\nContent-Length: 100000\r\n\r\n`)
  socket.write('x'.repeat(100_000))
  socket.write(`GET ${endpoint} HTTP/1.1\r\n${head}Connection: close\r\n\r\n`)
  let answers = ''
  for await (const chunk of socket) answers += chunk
  t.equal(answers.match(/HTTP\/1\.1 200 OK/g)?.length, 2)
})

t.test('a refused request gets 401, whatever the reason, and is asked to log in or refresh', async (t) => {
  const secret = 'a secret that other services hold as well'
  const service = await openApp(t, { SIGNING_KEY: secret })
  const { access, refresh, userId } = await service.logIn()
  const now = service.clock()
  const claims = { token_type: 'access', exp: now + 60, jti: 'x' }
  const rows: readonly (readonly [name: string, authorization: string | undefined, error: boolean])[] = [
    ['nothing', undefined, false],
    ['an empty header', '', false],
    ['another type', 'Basic dTpw', false],
    ['the type alone', 'Bearer', false],
    ['two tokens', `Bearer ${access} ${access}`, false],
    ['a word', 'Bearer x', true],
    ['8 kB', `Bearer ${'x'.repeat(8192)}`, true],
    ['no ASCII', 'Bearer tökén', true],
    ['a forged one', `Bearer ${access.slice(0, -8)}AAAAAAAA`, true],
    ['a refresh token', `Bearer ${refresh}`, true],
    ['an expired one', `Bearer ${signShared(secret, { ...claims, exp: now, user_id: userId })}`, true],
    ['a client’s', `Bearer ${signShared(secret, { ...claims, user_id: userId, sub: 'b', client_id: 'b' })}`, true],
    ['one without a user', `Bearer ${signShared(secret, claims)}`, true],
    ['an unknown user', `Bearer ${signShared(secret, { ...claims, user_id: '7' })}`, true]
  ]
  for (const [name, authorization, isBad] of rows) {
    for (const url of [endpoint, `${endpoint}?scope=orders.read`, `${below}/orders`]) {
      const answer = await ask(service, authorization === undefined ? {} : { authorization }, url)
      t.equal(answer.statusCode, 401, name)
      const challenge = isBad ? 'Bearer realm="api", error="invalid_token"' : 'Bearer realm="api"'
      t.equal(answer.headers['www-authenticate'], challenge, name)
      t.equal(answer.headers['cache-control'], 'no-store', name)
      t.same(
        Object.keys(answer.headers).filter((header) => header.startsWith('x-auth')),
        [],
        name
      )
    }
  }
  t.equal((await ask(service, bearer(signShared(secret, { ...claims, user_id: userId })))).statusCode, 200)
})

t.test('a session that has ended, and a user who is inactive, do not pass any more', async (t) => {
  const service = await openApp(t)
  const { access, refresh, userId } = await service.logIn()
  const again = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  t.equal((await ask(service, bearer(access))).statusCode, 200)
  await service.post('/api/token/blacklist/', { refresh })
  let status = 200
  await until(async () => {
    status = (await ask(service, bearer(access))).statusCode
    return status !== 200
  })
  t.equal(status, 401)
  t.equal((await ask(service, bearer(again.access))).statusCode, 200, 'another session')
  await service.app.stores.users.setActive(userId, false)
  service.clock.advance(5)
  const answer = await ask(service, bearer(again.access))
  t.match(answer.json(), { detail: 'User is inactive', code: 'user_inactive' })
})

t.test(
  'the password of CHECK_REVOKE_TOKEN is that of a few seconds ago, but a newer token is never refused for it',
  async (t) => {
    const service = await openApp(t, { CHECK_REVOKE_TOKEN: 'true' })
    const { access, userId } = await service.logIn()
    t.equal((await ask(service, bearer(access))).statusCode, 200)
    await service.app.stores.users.setPassword(userId, await service.app.hasher.hash('another horse'))
    const next = (await service.post('/api/token/', { username: 'vitor', password: 'another horse' })).json()
    t.equal((await ask(service, bearer(next.access))).statusCode, 200, 'at once')
    const answer = await ask(service, bearer(access))
    t.equal(answer.statusCode, 401)
    t.match(answer.json(), { code: 'password_changed' })
    t.match(answer.headers, { 'www-authenticate': 'Bearer realm="api", error="invalid_token"' })
  }
)

t.test('CHECK_USER_IS_ACTIVE=false allows inactive users, as at every endpoint', async (t) => {
  const service = await openApp(t, { CHECK_USER_IS_ACTIVE: 'false' })
  const { access, userId } = await service.logIn()
  await service.app.stores.users.setActive(userId, false)
  t.equal((await ask(service, bearer(access))).statusCode, 200)
})

t.test('a sliding token passes with SLIDING_TOKENS, until its session ends', async (t) => {
  const service = await openApp(t, { SLIDING_TOKENS: 'true' })
  const { id } = await service.addUser('vitor', aPassword)
  const { token } = (await service.post('/api/token/sliding/', { username: 'vitor', password: aPassword })).json()
  const { sid, exp } = decodePart(token, 1)
  const answer = await ask(service, bearer(token))
  t.equal(answer.statusCode, 200)
  t.match(answer.headers, { 'x-auth-user-id': id, 'x-auth-session-id': sid, 'x-auth-expires': String(exp) })
  t.equal((await service.post('/api/token/blacklist/', { refresh: token })).statusCode, 200)
  t.equal((await ask(service, bearer(token))).statusCode, 401)
})

t.test('a scope that is required', async (t) => {
  const service = await openApp(t)
  const { access } = await logInWith(service, { scope: 'orders.read orders.write' })
  const none = (await service.logIn('none')).access
  const statuses = async (query: string, below = ''): Promise<readonly number[]> => {
    const url = `${endpoint}${below}${query === '' ? '' : `?${query}`}`
    return Promise.all([access, none].map(async (token) => (await ask(service, bearer(token), url)).statusCode))
  }
  t.same(await statuses('scope=orders.read'), [200, 403])
  t.same(await statuses('scope=orders.write+orders.read'), [200, 403])
  t.same(await statuses('scope=orders.read&scope=orders.write'), [200, 403])
  t.same(await statuses('scope=orders.read&scope=admin'), [403, 403])
  t.same(await statuses('scope=orders'), [403, 403], 'the whole word')
  t.same(await statuses('scope=%22'), [403, 403], 'no user has an invalid scope')
  for (const query of ['scope=', 'scope', 'scope=+', 'scope[]=', 'scope=orders.read&scope=', 'x=1;scope=orders.read'])
    t.same(await statuses(query), [403, 403], `${query}: a scope was meant, and no token has this one`)
  for (const name of [
    'scope[]',
    'scope[0]',
    'scope%5B%5D',
    'Scope',
    'scopes',
    '+scope',
    'amp;scope',
    'x=&s%63ope',
    '%C5%BFcope'
  ])
    t.same(await statuses(`${name}=orders.read`), [200, 403], name)
  t.same(await statuses('scope[]=orders.read&scope[]=admin'), [403, 403])
  for (const query of ['', 'other=x', 'telescope=x']) t.same(await statuses(query), [200, 200], query)
  for (const url of ['/api/token/forward-auth;', '/api/token/forward-auth%2f', '/api/token//forward-auth/'])
    t.equal((await ask(service, bearer(access), `${url}?scope=admin`)).statusCode, 404, url)
  const refused = await ask(service, bearer(none), `${endpoint}?scope=orders.read`)
  t.match(refused.headers, {
    'www-authenticate': 'Bearer realm="api", error="insufficient_scope"',
    'cache-control': 'no-store'
  })
  t.same(refused.json(), { detail: 'You do not have permission to perform this action.' })
  t.equal(
    (await ask(service, bearer(none), `${below}/orders?scope=orders.read`)).statusCode,
    200,
    'the client’s own query'
  )

  const lists = await openApp(t)
  const list = (await logInWith(lists, { scope: ['orders.read'] })).access
  t.equal((await ask(lists, bearer(list), `${endpoint}?scope=orders.read`)).statusCode, 403, 'a list is not a scope')
})

t.test('of the paths below the endpoint only those of Envoy exist, as sent on the wire', async (t) => {
  const service = await openApp(t)
  const { access } = await service.logIn()
  await service.app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = service.app.server.address() as AddressInfo
  // `inject` would normalise the path.
  const statusOf = (path: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = get({ port, host: '127.0.0.1', path, headers: bearer(access), agent: false }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      sent.on('error', reject)
    })
  const near = ['/', '//', '.', './', ';', ';x/', ';a=b', '%2f', '%2F/', '%5c', '%20', 'orders', 'x/..', '..', '%2e%2e']
  const nearer = [
    '//..//',
    '../forward-auth/',
    '..;/forward-auth',
    '%00',
    '%c0%af',
    '%EF%BC%8F',
    '&scope=x',
    '%23scope=x'
  ]
  for (const rest of [...near, ...nearer, '%3Fscope=x', ';scope=x', '_', '_x', '%5f/', '_%2f', '__/'])
    for (const query of ['', '?scope=x']) t.equal(await statusOf(`${endpoint}${rest}${query}`), 404, `${rest}${query}`)
  for (const rest of ['/', '/..', '/../', '/%c0%af', '/%', '/;x', '/%2f', '//', '/?scope=x', '/orders?scope=x'])
    t.equal(await statusOf(`${below}${rest}`), 200, `_${rest}`)
  t.equal(await statusOf(`${endpoint}#scope=x`), 403, 'a fragment is not part of the path')
})

t.test('headers of one line of ASCII, which decode to what they were', async (t) => {
  const service = await openApp(t)
  const names = ['José', '100%', 'a b', '\u{1f511} ключ', 'o\'hara;,="', '%41nn', 'Ann']
  for (const name of names) {
    const { access } = await service.logIn(name)
    const header = String((await ask(service, bearer(access))).headers['x-auth-username'])
    t.match(header, /^[\x21-\x7e]+$/, name)
    t.equal(decodeURIComponent(header), name.normalize('NFKC'), name)
    if (name === 'Ann') t.equal(header, 'Ann', 'nearly all names are as they are')
  }
  const injected = await logInWith(service, { scope: 'a\r\nX-Auth-User-Id: admin' }, 'crlf')
  t.equal((await ask(service, bearer(injected.access))).headers['x-auth-scope'], '', 'an invalid scope is not reported')

  const secret = 'a secret that other services hold as well'
  const shared = await openApp(t, { SIGNING_KEY: secret })
  const { userId } = await shared.logIn()
  const claims = { token_type: 'access', exp: shared.clock() + 60.5, jti: 'x', user_id: userId, sid: 'a\r\nb: c' }
  const { headers } = await ask(shared, bearer(signShared(secret, claims)))
  t.match(headers, { 'x-auth-session-id': 'a%0D%0Ab:%20c', 'x-auth-expires': String(shared.clock() + 60) })
})

t.test('a proxy may cache the response for the configured time, and never longer than the token lives', async (t) => {
  const service = await openApp(t, { FORWARD_AUTH_MAX_AGE: '10s', LEEWAY: '5s' })
  const { access } = await service.logIn()
  const cacheControl = async () => (await ask(service, bearer(access))).headers['cache-control']
  t.equal(await cacheControl(), 'max-age=10, must-revalidate')
  service.clock.advance(293)
  t.equal(await cacheControl(), 'max-age=7, must-revalidate')
  service.clock.advance(9)
  t.equal(await cacheControl(), 'max-age=0, must-revalidate', 'within the leeway')
  service.clock.advance(3)
  t.equal(await cacheControl(), 'no-store')
})

t.test('cookies', async (t) => {
  const login = async (t: Test, env: Record<string, string>) => {
    const service = await openApp(t, env)
    const { access, ...rest } = await service.logIn()
    return { service, access, ...rest }
  }
  const off = await login(t, {})
  t.equal((await ask(off.service, { cookie: `access=${off.access}` })).statusCode, 401, 'none is looked at by default')

  const mode = await openApp(t, { COOKIE_MODE: 'on' })
  await mode.addUser('vitor', aPassword)
  const answer = await mode.post('/api/token/', { username: 'vitor', password: aPassword })
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  const origin = { host: 'id.example.com', origin: 'http://id.example.com' }
  t.equal((await ask(mode, { cookie, ...origin })).statusCode, 401, 'a refresh cookie proves nothing here')
  t.equal((await mode.post('/api/token/refresh/', {}, { cookie, ...origin })).statusCode, 200, 'and was not rotated')

  const { service, access, refresh } = await login(t, { FORWARD_AUTH_COOKIE: 'access' })
  const passes = async (headers: Record<string, string>) => (await ask(service, headers)).statusCode
  t.equal(await passes({ cookie: `access=${access}` }), 200)
  t.equal((await ask(service, { cookie: `access=${access}` })).headers.vary, 'Authorization, Cookie')
  t.equal(await passes({ cookie: `access=${access}`, authorization: 'Basic dTpw' }), 200, 'for the service behind')
  t.equal(await passes({ cookie: `access=${access}`, ...bearer('x') }), 401, 'the header comes first')
  t.equal(await passes({ cookie: `access=${access}`, authorization: 'Bearer' }), 401)
  t.equal(await passes({ cookie: `access=${refresh}` }), 401, 'an access token, not a refresh token')
  t.equal(await passes({ cookie: 'other=x' }), 401)
  const both = (first: string, second: string) => passes({ cookie: `access=${first}; access=${second}` })
  t.same([await both('x', access), await both(access, 'x')], [200, 200], 'of two cookies of one name each is tried')
  t.same([await both('x', refresh), await both('', '')], [401, 401])
  const narrow = `${endpoint}?scope=admin`
  t.equal((await ask(service, { cookie: `access=x; access=${access}` }, narrow)).statusCode, 403, 'known, not allowed')
})

t.test('no round trip for a user seen before, and 503 when nothing can be known', async (t) => {
  const service = await openApp(t)
  const { access } = await service.logIn()
  const other = await service.logIn('other')
  await ask(service, bearer(access))
  const down = async () => {
    throw new KeyturnError('STORE_DOWN', { detail: 'gone', retryAfter: 1 })
  }
  t.intercept(service.app.stores.users, 'findById', { value: down })
  service.clock.advance(60)
  t.equal((await ask(service, bearer(access))).statusCode, 200, 'the user stays as last seen')
  const answer = await ask(service, bearer(other.access))
  t.equal(answer.statusCode, 503, 'no false 401, at which a client would give its tokens up')
  t.match(answer.headers, { 'retry-after': /^[1-5]$/, 'cache-control': 'no-store' })
})

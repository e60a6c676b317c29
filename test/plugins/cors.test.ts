/* CORS_ORIGINS: pages of other origins that call Keyturn and bear their tokens themselves. Cookies: cookie.test.ts. */
import t from 'tap'
import { type ErrorCode, KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp } from '../support/app.ts'

const app = 'https://app.example.com'
const refresh = '/api/token/refresh/'

t.test('off by default', async (t) => {
  const { app: service, post } = await openApp(t)
  t.equal((await post(refresh, {}, { origin: app })).headers['access-control-allow-origin'], undefined)
  const headers = { origin: app, 'access-control-request-method': 'POST' }
  const preflight = await service.inject({ method: 'OPTIONS', url: refresh, headers })
  t.equal(preflight.statusCode, 200, 'the description of the endpoint, as in Django REST framework')
  t.equal(preflight.headers['access-control-allow-origin'], undefined)
})

t.test('a preflight allows every method that an endpoint has', async (t) => {
  const { app: service } = await openApp(t, { CORS_ORIGINS: app })
  const { paths } = (await service.inject('/openapi.json')).json<{ paths: Record<string, object> }>()
  const headers = { origin: app, 'access-control-request-method': 'PATCH' }
  const preflight = await service.inject({ method: 'OPTIONS', url: '/api/admin/users/1/', headers })
  const allowed = String(preflight.headers['access-control-allow-methods']).toLowerCase().split(', ')
  for (const [path, operations] of Object.entries(paths))
    for (const method of Object.keys(operations)) t.ok(allowed.includes(method), `${method} ${path}`)
})

t.test('pages that are named may call and read, without cookies, and no others', async (t) => {
  const { app: service, post } = await openApp(t, { CORS_ORIGINS: `${app} http://localhost:3000` })
  const preflight = (origin: string, method = 'POST', url = refresh) =>
    service.inject({
      method: 'OPTIONS',
      url,
      headers: {
        origin,
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization,content-type'
      }
    })
  for (const origin of [app, 'http://localhost:3000']) {
    const allowed = await preflight(origin)
    t.equal(allowed.statusCode, 204)
    t.match(allowed.headers, {
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
      'access-control-allow-headers': 'authorization,content-type',
      'access-control-max-age': '600',
      vary: /Origin/
    })
    t.notOk('access-control-allow-credentials' in allowed.headers)
    const answer = await post(refresh, {}, { origin })
    t.match(answer, { statusCode: 400, headers: { 'access-control-allow-origin': origin, vary: /Accept.*Origin/ } })
    const exposed = String(answer.headers['access-control-expose-headers'])
    t.same(exposed.split(', '), ['www-authenticate', 'retry-after', 'ratelimit', 'ratelimit-policy', 'x-request-id'])
  }
  for (const origin of ['https://evil.example', 'http://app.example.com', `${app}.evil.example`, 'null']) {
    for (const answer of [await preflight(origin), await post(refresh, {}, { origin })]) {
      t.notOk('access-control-allow-origin' in answer.headers, origin)
      t.match(answer.headers.vary, /Origin/, 'or a cache would hand it to another page')
    }
  }
  t.equal((await service.inject('/nowhere')).statusCode, 404)
  t.equal((await service.inject({ method: 'GET', url: refresh })).statusCode, 405)
  const refusals: readonly (readonly [method: 'GET' | 'POST', url: string, status: number, headers?: object])[] = [
    ['GET', refresh, 405],
    ['POST', refresh, 406, { accept: 'text/html' }],
    ['POST', refresh, 415, { 'content-type': 'text/plain' }],
    ['GET', '/nowhere', 404],
    ['GET', '/api/%zz', 404],
    ['GET', '/%ff/%', 404],
    ['GET', `/api/sessions/${'x'.repeat(3000)}`, 404],
    ['GET', '/api/sessions/', 401]
  ]
  for (const [method, url, status, headers] of refusals) {
    const answer = await service.inject({ method, url, headers: { origin: app, ...headers }, payload: 'x' })
    t.equal(answer.statusCode, status, url.slice(0, 30))
    t.equal(answer.headers['access-control-allow-origin'], app, `a page may read ${status}`)
    t.match(answer.headers.vary, /Origin/)
  }
  const keys = await service.inject({ url: '/.well-known/jwks.json', headers: { origin: 'https://evil.example' } })
  t.equal(keys.headers['access-control-allow-origin'], '*', 'what is public stays public')
})

t.test('a page may read refusals by limits, by stores that are down, and of what HTTP forbids', async (t) => {
  const service = await openApp(t, { CORS_ORIGINS: app, RATE_LIMIT_OBTAIN: '2/m' })
  const { access, refresh: token } = await service.logIn()
  const refuse = (code: ErrorCode) => ({ value: () => Promise.reject(new KeyturnError(code)) })
  t.intercept(service.app.stores.sessions, 'rotate', refuse('STORE_DOWN'))
  t.intercept(service.app.hasher, 'hash', refuse('BUSY'))
  const change = { current_password: aPassword, new_password: 'another horse' }
  const bearing = { authorization: `Bearer ${access}` }
  const refusals: readonly (readonly [status: number, path: string, body: object, headers?: object])[] = [
    [413, refresh, { refresh: 'x'.repeat(20_000) }],
    [417, refresh, { refresh: token }, { expect: '200-ok' }],
    [400, refresh, { refresh: token }, { host: 'not a host' }],
    [503, refresh, { refresh: token }],
    [503, '/api/password/', change, bearing],
    [429, '/api/password/', change, bearing]
  ]
  for (const [status, path, body, headers] of refusals) {
    const answer = await service.post(path, body, { origin: app, ...headers })
    t.equal(answer.statusCode, status)
    t.equal(answer.headers['access-control-allow-origin'], app, `a page may read ${status}`)
    if (status === 429 || status === 503)
      t.match(answer.headers, { 'retry-after': /^\d+$/, 'access-control-expose-headers': /retry-after/ })
  }
})

t.test('beside COOKIE_ORIGINS, whose pages alone may send the cookie', async (t) => {
  const other = 'https://other.example.com'
  const env = { COOKIE_MODE: 'on', COOKIE_ORIGINS: app, CORS_ORIGINS: other }
  const { post } = await openApp(t, env)
  const own = await post(refresh, {}, { origin: app })
  t.match(own.headers, { 'access-control-allow-origin': app, 'access-control-allow-credentials': 'true' })
  const answer = await post(refresh, {}, { origin: other })
  t.equal(answer.headers['access-control-allow-origin'], other)
  t.notOk('access-control-allow-credentials' in answer.headers)
})

/* GET /api/admin/overview/ */
import t from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { callAs, clientToken } from '../support/admin.ts'
import { aPassword, openApp } from '../support/app.ts'

t.test('the overview counts logins, refreshes and verifications by result, and shows sessions and keys', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'console', 'keyturn.admin'))
  const { refresh } = await service.logIn()
  await service.post('/api/token/', { username: 'vitor', password: 'wrong' })
  await service.post('/api/token/', { username: 'vitor', password: aPassword })
  await service.post('/api/token/refresh/', { refresh })
  await service.post('/api/token/verify/', { token: 'none' })
  const answer = await call('GET', '/api/admin/overview/')
  t.equal(answer.statusCode, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  const counts = {
    logins: { ok: 2, login_failed: 1 },
    refreshes: { rotated: 1 },
    verifications: { token_invalid: 1 }
  }
  const overview = answer.json()
  t.match(overview, {
    version: /^\d+\.\d+\.\d+/,
    host: /./,
    workers: 1,
    totals: counts,
    sessions: 2,
    hash_queue: { waiting: 0, capacity: 64 },
    keys: [{ state: 'active', algorithm: 'ES256' }]
  })
  t.equal(overview.minutes.length, 1)
  const [minute] = overview.minutes
  t.match(minute, { ...counts, errors: 0, revocation_lag_ms: Number })
  t.ok(minute.latency_ms.login.p99 >= minute.latency_ms.login.p50 && minute.latency_ms.login.p50 > 0)
  t.notMatch(answer.body, /sealed|PRIVATE/)

  service.clock.advance(3600 * 24)
  const later = callAs(service, await clientToken(service, 'later', 'keyturn.admin'))
  const next = (await later('GET', '/api/admin/overview/')).json()
  t.same(next.totals, counts, 'totals stay')
  t.equal(next.minutes.length, 60)
  t.match(next.minutes.at(-1), { logins: {}, latency_ms: { login: { p50: null, p99: null } } })
})

t.test('the overview has each request once, however often it is read, and as the metrics count it', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'console', 'keyturn.admin'))
  const verifications = async () => (await call('GET', '/api/admin/overview/')).json().totals.verifications
  for (const total of [1, 2, 3]) {
    await service.post('/api/token/verify/', { token: 'none' })
    t.same(await verifications(), { token_invalid: total })
    t.same(await verifications(), { token_invalid: total })
  }
  t.match((await service.app.inject('/metrics')).body, 'keyturn_verifications_total{result="token_invalid"} 3\n')
})

t.test('narrower scopes are refused', async (t) => {
  const service = await openApp(t)
  for (const scope of ['keyturn.audit', 'keyturn.keys', 'keyturn.users'])
    t.equal(
      (await callAs(service, await clientToken(service, `of-${scope}`, scope))('GET', '/api/admin/overview/'))
        .statusCode,
      403
    )
})

t.test('while a store is down the overview shows the rest', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'console', 'keyturn.admin'))
  const { sessions, keys } = service.app.stores
  const down = () => Promise.reject(new KeyturnError('STORE_DOWN'))
  Object.assign(sessions, { estimateCount: down })
  Object.assign(keys, { list: down })
  const answer = await call('GET', '/api/admin/overview/')
  t.equal(answer.statusCode, 200)
  t.match(answer.json(), { sessions: null, keys: null, workers: 1 })
})

t.test('an answer of 500 or above counts as an error', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await clientToken(service, 'console', 'keyturn.admin'))
  Object.assign(service.app.stores.users, { findByUsername: () => Promise.reject(new Error('broken')) })
  t.equal((await service.post('/api/token/', { username: 'vitor', password: aPassword })).statusCode, 500)
  t.match((await call('GET', '/api/admin/overview/')).json().minutes, [{ errors: 1 }])
})

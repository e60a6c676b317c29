/* Acts and their entries in the audit trail: no act is acknowledged before its entry is written. */
import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { callAs, clientToken } from '../support/admin.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { addClient } from '../support/client.ts'

/** An application whose audit trail cannot be written while `trail.isDown`. */
async function openFailing(t: Test, env = {}) {
  const service = await openApp(t, { LOGIN_BACKOFF: 'off', ...env })
  const trail = { isDown: false }
  const { audit } = service.app.stores
  const { add } = audit
  Object.assign(audit, {
    async add(entries: Parameters<typeof add>[0]) {
      if (trail.isDown) throw new KeyturnError('STORE_DOWN')
      return add(entries)
    }
  })
  return { ...service, trail }
}

const credentials = { username: 'vitor', password: aPassword }

const endAll = ({ app }: Pick<TestApp, 'app'>, access: string, path = '') =>
  app.inject({ method: 'DELETE', url: `/api/sessions/${path}`, headers: { authorization: `Bearer ${access}` } })

t.test('the entry of an act is in the trail when its answer arrives', async (t) => {
  const service = await openFailing(t)
  const { access, refresh } = await service.logIn()
  const events = async () => (await service.app.stores.audit.list(0, 100)).map(({ event }) => event)
  t.same(await events(), ['login'])
  await service.post('/api/token/blacklist/', { refresh })
  t.same(await events(), ['login', 'logout'])
  const other = (await service.post('/api/token/', credentials)).json()
  t.not(other.access, access)
  t.equal((await endAll(service, other.access)).statusCode, 204)
  t.same(await events(), ['login', 'logout', 'login', 'session_end'])
})

t.test('a password that was set has an entry although the sessions could not be ended', async (t) => {
  const service = await openFailing(t)
  const { stores } = service.app
  const { revokeAll } = stores.sessions
  const entries = async (event: string) =>
    (await stores.audit.list(0, 100, { event })).map(({ result, userId }) => ({ result, userId }))
  /** The session store fails after this many calls. */
  const failAfter = (calls: number) => {
    let left = calls
    Object.assign(stores.sessions, {
      async revokeAll(...args: Parameters<typeof revokeAll>) {
        if (left-- === 0) throw new KeyturnError('STORE_DOWN', { detail: 'Redis: not connected' })
        return await revokeAll(...args)
      }
    })
  }
  const { access, userId } = await service.logIn()
  failAfter(0)
  const change = { current_password: aPassword, new_password: 'another password' }
  const changed = await service.app.inject({
    method: 'POST',
    url: '/api/password/',
    headers: { authorization: `Bearer ${access}` },
    payload: change
  })
  t.equal(changed.statusCode, 503)
  t.match(changed.headers['retry-after'], /^\d+$/)
  const both = ['ok', 'sessions_kept'].map((result) => ({ result, userId }))
  t.same(await entries('password_change'), both)

  const manage = callAs(service, await clientToken(service, 'signup', 'keyturn.users'))
  const issued = await manage('POST', `/api/admin/users/${userId}/one-time-tokens/`, { purpose: 'password_reset' })
  failAfter(1)
  const reset = { token: issued.json().token, new_password: 'a third password' }
  t.equal((await service.post('/api/password/reset/', reset)).statusCode, 503)
  t.same(await entries('password_reset'), both)
  Object.assign(stores.sessions, { revokeAll })
  t.equal((await service.post('/api/token/', { username: 'vitor', password: 'a third password' })).statusCode, 200)
})

t.test('a login whose entry cannot be written hands out no tokens, neither in the body nor in a cookie', async (t) => {
  for (const mode of ['false', 'true']) {
    const service = await openFailing(t, { COOKIE_MODE: mode })
    await service.logIn()
    service.trail.isDown = true
    const answer = await service.post('/api/token/', credentials)
    t.equal(answer.statusCode, 503)
    t.match(answer.headers['retry-after'], /^\d+$/)
    t.equal(answer.headers['set-cookie'], undefined)
    t.same(Object.keys(answer.json()).includes('access'), false)
    service.trail.isDown = false
    const again = await service.post('/api/token/', credentials)
    t.equal(again.statusCode, 200)
    t.equal(again.headers['set-cookie'] !== undefined, mode === 'true', 'the next one does')
    const lines = service.log.filter(({ msg }) => msg === 'request')
    t.same(
      lines.map(({ status }) => status),
      [200, 503, 200],
      'each request has one line in the log'
    )
  }
})

t.test('a logout whose entry cannot be written is answered 503, and can be repeated', async (t) => {
  const service = await openFailing(t)
  const { userId, access, refresh } = await service.logIn()
  service.trail.isDown = true
  t.equal((await service.post('/api/token/blacklist/', { refresh })).statusCode, 503)
  t.match(
    service.log.find(({ msg }) => msg === 'audit entry could not be written'),
    { event: 'logout' }
  )
  service.trail.isDown = false
  t.equal((await service.post('/api/token/verify/', { token: access })).statusCode, 401, 'the session has ended')
  t.match((await service.post('/api/token/blacklist/', { refresh })).json(), { code: 'token_not_valid' })
  await until(async () => (await service.app.stores.audit.last())?.event === 'logout')
  t.match(await service.app.stores.audit.last(), { result: 'token_revoked', userId, sid: /^[0-9a-f]{32}$/ })
})

t.test('a management act whose entry cannot be written is in the log, and can be repeated', async (t) => {
  const service = await openFailing(t)
  const { userId } = await service.logIn()
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.users'))
  const issue = () => call('POST', `/api/admin/users/${userId}/one-time-tokens/`, { purpose: 'verify' })
  service.trail.isDown = true
  t.equal((await issue()).statusCode, 503)
  t.match(
    service.log.find(({ msg }) => msg === 'audit entry could not be written'),
    { event: 'one_time_token', actor: 'client:support', userId, reqId: /./ }
  )
  t.match((await service.app.inject('/metrics')).body, /^keyturn_audit_entries_lost_total 1$/m)
  service.trail.isDown = false
  t.equal((await issue()).statusCode, 201)
  t.match(await service.app.stores.audit.last(), { event: 'one_time_token', result: 'ok', userId })
})

t.test('no change of a user takes effect without its entry, and each can be repeated', async (t) => {
  const service = await openApp(t, { LOGIN_BACKOFF: 'off' })
  const { database, users, audit } = service.app.stores
  const { userId, access } = await service.logIn()
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.users'))
  const url = `/api/admin/users/${userId}/`
  let token = ''
  const issue = async () => {
    token = (await call('POST', `${url}one-time-tokens/`, { purpose: 'password_reset' })).json().token
  }
  const change = { current_password: aPassword, new_password: 'another password' }
  const acts: readonly (readonly [event: string, status: number, act: () => Promise<LightMyRequestResponse>])[] = [
    ['password_change', 204, () => service.post('/api/password/', change, { authorization: `Bearer ${access}` })],
    ['password_reset', 204, () => service.post('/api/password/reset/', { token, new_password: 'a third password' })],
    ['user_password', 204, () => call('PUT', `${url}password/`, { password: 'a fourth password' })],
    ['user_create', 201, () => call('POST', '/api/admin/users/', { username: 'ann' })],
    ['user_rename', 200, () => call('PATCH', url, { username: 'ben' })],
    ['user_claims', 200, () => call('PATCH', url, { claims: { team: 'blue' } })],
    ['user_deactivate', 200, () => call('PATCH', url, { is_active: false })],
    ['user_activate', 200, () => call('PATCH', url, { is_active: true })],
    ['user_delete', 204, () => call('DELETE', url)]
  ]
  const refuse = "CREATE TRIGGER refuse BEFORE INSERT ON keyturn_audit BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
  for (const [event, status, act] of acts) {
    if (event === 'password_reset') await issue()
    const [before, last] = [await users.list('', 10), await audit.last()]
    await database.query(refuse)
    t.equal((await act()).statusCode, 503, event)
    await database.query('DROP TRIGGER refuse')
    t.same(await users.list('', 10), before, event)
    t.same(await audit.last(), last, event)
    t.equal((await act()).statusCode, status, event)
    t.match(await audit.last(), { event, result: 'ok', userId: event === 'user_create' ? /./ : userId, requestId: /./ })
  }
})

t.test('a management call that ended sessions and was answered 503 has its entry once it is repeated', async (t) => {
  const service = await openFailing(t)
  const call = callAs(service, await clientToken(service, 'support', 'keyturn.sessions'))
  for (const [name, repeated, send] of [
    ['one', 404, (userId: string, sid: string) => call('DELETE', `/api/admin/users/${userId}/sessions/${sid}/`)],
    ['all', 200, (userId: string) => call('DELETE', `/api/admin/users/${userId}/sessions/`)],
    ['many', 200, (userId: string) => call('POST', '/api/admin/sessions/revoke/', { user_ids: [userId] })]
  ] as const) {
    const { userId, access } = await service.logIn(name)
    const [session] = await service.app.stores.sessions.list(userId)
    const sid = String(session?.sid)
    service.trail.isDown = true
    t.equal((await send(userId, sid)).statusCode, 503, name)
    t.equal((await service.post('/api/token/verify/', { token: access })).statusCode, 401, 'the session has ended')
    service.trail.isDown = false
    t.equal((await send(userId, sid)).statusCode, repeated, name)
    const entry = { event: 'session_revoke', result: 'ended', userId, actor: 'client:support' }
    t.match(await service.app.stores.audit.last(), name === 'one' ? { ...entry, sid } : entry, name)
  }
})

t.test('a client that repeats a revocation gets its success and the trail its entry', async (t) => {
  const service = await openFailing(t)
  const { post } = await addClient(service)
  const { refresh } = await service.logIn()
  service.trail.isDown = true
  t.equal((await post('/oauth/revoke', { token: refresh })).statusCode, 503)
  service.trail.isDown = false
  t.equal((await post('/oauth/revoke', { token: refresh })).statusCode, 200)
  t.match((await service.app.stores.audit.list(0, 100)).at(-1), { event: 'revoke', result: 'ended', sid: /./ })
})

t.test('events that wait at the same time are written together', async (t) => {
  const service = await openFailing(t)
  const { audit } = service.app.stores
  const { add } = audit
  const batches: number[] = []
  let release = (): void => {}
  const first = new Promise<void>((resolve) => {
    release = resolve
  })
  Object.assign(audit, {
    async add(entries: Parameters<typeof add>[0]) {
      batches.push(entries.length)
      await first
      return add(entries)
    }
  })
  const event = { event: 'logout', result: 'ok', at: 1, ip: '', requestId: 'a' } as const
  const one = service.app.auditTrail.record(event)
  await until(() => batches.length === 1)
  const others = Array.from({ length: 20 }, () => service.app.auditTrail.record(event))
  release()
  await Promise.all([one, ...others])
  t.same(batches, [1, 20])
})

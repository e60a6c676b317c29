/* Acts and their entries in the audit trail: no act is acknowledged before its entry is written. */
import t, { type Test } from 'tap'
import { KeyturnError } from '../../src/errors.ts'
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
  const { access, refresh } = await service.logIn()
  service.trail.isDown = true
  t.equal((await service.post('/api/token/blacklist/', { refresh })).statusCode, 503)
  t.match(
    service.log.find(({ msg }) => msg === 'audit entry could not be written'),
    { event: 'logout' }
  )
  service.trail.isDown = false
  t.equal((await service.post('/api/token/verify/', { token: access })).statusCode, 401, 'the session has ended')
  t.match((await service.post('/api/token/blacklist/', { refresh })).json(), { code: 'token_not_valid' })
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

/* The audit trail beside the requests: what is written, and what is left out while the database is slow. */
import t, { type Test } from 'tap'
import type { AuditEvent } from '../../src/audit/event.ts'
import { openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { basic } from '../support/client.ts'

/** An application whose audit trail waits until `release` is called. */
async function openStalled(t: Test) {
  const testApp = await openApp(t, { LOGIN_BACKOFF: 'off', RATE_LIMIT_ALLOW: '0.0.0.0/0' })
  const login = await testApp.logIn()
  await testApp.app.auditTrail.settled()
  const { audit } = testApp.app.stores
  const { add } = audit
  let release = (): void => {}
  const stalled = new Promise<void>((resolve) => {
    release = resolve
  })
  Object.assign(audit, {
    async add(entries: Parameters<typeof add>[0]) {
      await stalled
      return add(entries)
    }
  })
  /** Whatever is written once the database answers again, in its order. */
  const written = async (): Promise<readonly AuditEvent[]> => {
    release()
    await testApp.app.auditTrail.settled()
    return (await audit.list(0, 100_000)).slice(1)
  }
  return { ...testApp, login, written }
}

const fail = ({ app }: Pick<TestApp, 'app'>, remoteAddress: string, times: number) =>
  Promise.all(
    Array.from({ length: times }, (_, index) =>
      app.inject({
        method: 'POST',
        url: '/oauth/introspect',
        remoteAddress,
        payload: 'token=x',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          authorization: basic(`client-${index}`, 'guess')
        }
      })
    )
  )

const shed = async ({ app }: Pick<TestApp, 'app'>): Promise<number> =>
  Number(/^keyturn_audit_entries_shed_total (\d+)$/m.exec((await app.inject('/metrics')).body)?.[1])

t.test('a slow trail keeps every logout, and one failure a minute of each address', async (t) => {
  const service = await openStalled(t)
  for (const address of ['192.0.2.1', '192.0.2.2']) await fail(service, address, 1000)
  const logout = service.post('/api/token/blacklist/', { refresh: service.login.refresh })
  await until(() => service.app.auditTrail.waiting() === 102)
  const wrong = { username: 'vitor', password: 'wrong' }
  t.equal((await service.post('/api/token/', wrong)).statusCode, 401, 'the first of its address')
  t.equal((await service.post('/api/token/', wrong)).statusCode, 401)
  t.equal(await shed(service), 900 + 999 + 1, 'all but the first hundred, and one of each further address')
  const now = performance.now.bind(performance)
  const later = t.intercept(performance, 'now', { value: () => now() + 60_000 })
  for (const _ of ['the first of the next minute', 'the second'])
    t.equal((await service.post('/api/token/', wrong)).statusCode, 401)
  later.restore()
  t.equal(await shed(service), 1900 + 1, 'one a minute')
  const entries = await service.written()
  t.equal((await logout).statusCode, 200, 'the logout was answered after its entry was written')
  t.same(
    entries.slice(100).map(({ event, ip }) => [event, ip]),
    [
      ['introspect', '192.0.2.2'],
      ['logout', '127.0.0.1'],
      ['login', '127.0.0.1'],
      ['login', '127.0.0.1']
    ]
  )
  await fail(service, '192.0.2.1', 1)
  t.equal((await service.written()).length, 105, 'once the trail has caught up, everything is written')
})

t.test('a slow trail keeps thousands of acts behind failures from thousands of addresses', async (t) => {
  const service = await openStalled(t)
  for (let each = 0; each < 1200; each++) await fail(service, `10.0.${each >> 8}.${each & 255}`, 1)
  const { access } = service.login
  const end = () =>
    service.app.inject({
      method: 'DELETE',
      url: '/api/sessions/?keep=current',
      headers: { authorization: `Bearer ${access}` }
    })
  const ended = Promise.all(Array.from({ length: 1200 }, end))
  await until(() => service.app.auditTrail.waiting() === 1700)
  const entries = await service.written()
  t.ok((await ended).every(({ statusCode }) => statusCode === 204))
  t.equal(entries.filter(({ event }) => event === 'introspect').length, 500, 'failures have at most 500 places')
  t.equal(entries.filter(({ event }) => event === 'session_end').length, 1200)
  t.equal(await shed(service), 700)
})

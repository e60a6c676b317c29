/* GET /api/admin/audit/ as a stream, over real connections. */
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { migrate } from '../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { until } from '../support/arbiter.ts'
import { callAs, clientToken, userToken } from '../support/admin.ts'
import { openApp, type TestApp } from '../support/app.ts'
import { type EventReader, readEvents } from '../support/events.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'

const path = '/api/admin/audit/'

interface Service extends TestApp {
  /** A stream of a client with the scope. */
  stream(t: Pick<Test, 'teardown'>, query?: string, headers?: Record<string, string>): Promise<EventReader>
  streamAs(t: Pick<Test, 'teardown'>, token: string): Promise<EventReader>
}

async function openService(t: Pick<Test, 'teardown'>, env: Record<string, string> = {}): Promise<Service> {
  const service = await openApp(t, env)
  await service.app.listen({ port: 0 })
  const url = `http://127.0.0.1:${(service.app.server.address() as AddressInfo).port}${path}`
  const token = await clientToken(service, 'siem', 'keyturn.audit')
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  return {
    ...service,
    stream: (t, query = '', headers = {}) => readEvents(t, `${url}${query}`, { ...bearer(token), ...headers }),
    streamAs: (t, token) => readEvents(t, url, bearer(token))
  }
}

const entriesOf = ({ events }: EventReader) => events.filter(({ event }) => event === 'entry').map(({ data }) => data)
const positionsOf = (reader: EventReader): readonly number[] => entriesOf(reader).map(({ seq }) => seq)
const upTo = (last: number): readonly number[] => Array.from({ length: last }, (_, index) => index + 1)
/** The last position that the receiver has read: that of an entry or of a heartbeat. */
const lastId = ({ events }: EventReader): string => events.at(-1)?.id ?? ''

t.test('an entry comes live, in the form of the list, and a heartbeat follows', async (t) => {
  const service = await openService(t)
  await service.logIn('ann')
  const reader = await service.stream(t)
  t.equal(reader.status, 200)
  t.match(reader.headers, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    connection: 'close'
  })
  await reader.next('caught-up')
  t.match(reader.text(), /^retry: 1000\n\n/)
  const before = entriesOf(reader).length
  const { userId } = await service.logIn('ben')
  await until(() => entriesOf(reader).some(({ user_id }) => user_id === userId))
  t.ok(entriesOf(reader).length > before)
  t.same(positionsOf(reader), upTo(entriesOf(reader).length))
  const beat = await reader.next('heartbeat', reader.events.length)
  t.equal(beat.id, String(positionsOf(reader).at(-1)))
  const call = callAs(service, await clientToken(service, 'other', 'keyturn.audit'))
  const { results } = (await call('GET', path)).json()
  t.same(entriesOf(reader), results.slice(0, entriesOf(reader).length))
})

t.test('a stream that was cut goes on where it was, without a gap and without a repetition', async (t) => {
  const service = await openService(t)
  const seen: number[] = []
  let place = '0'
  for (let round = 0; round < 5; round++) {
    const reader = await service.stream(t, '?after=0', { 'last-event-id': place })
    await service.logIn(`user-${round}`)
    await until(() => positionsOf(reader).length > 0)
    reader.close()
    place = lastId(reader)
    seen.push(...positionsOf(reader))
    await service.logIn(`between-${round}`)
  }
  const reader = await service.stream(t, `?after=${place}`)
  await reader.next('caught-up')
  seen.push(...positionsOf(reader))
  const { seq } = (await service.app.stores.audit.last()) ?? {}
  t.same(seen, upTo(seq ?? 0))
  t.ok(Number(seq) >= 10)
})

t.test('a long trail comes whole, and in order', async (t) => {
  const service = await openService(t)
  const entry = { event: 'login', result: 'ok', at: 1, ip: '192.0.2.7', requestId: 'r' } as const
  await Promise.all(Array.from({ length: 2500 }, () => service.app.auditTrail.record(entry)))
  const reader = await service.stream(t)
  await reader.next('caught-up')
  const { seq } = (await service.app.stores.audit.last()) ?? {}
  t.same(positionsOf(reader), upTo(Number(seq)))
})

t.test('filters hold, and the cursor passes what they leave out', async (t) => {
  const service = await openService(t)
  const { userId } = await service.logIn('ann')
  const reader = await service.stream(t, `?user_id=${userId}&event=login`)
  await reader.next('caught-up')
  await service.logIn('ben')
  await service.post('/api/token/', { username: 'ann', password: 'correct horse' })
  await until(() => entriesOf(reader).length === 2)
  await service.logIn('carl')
  const { seq } = (await service.app.stores.audit.last()) ?? {}
  await until(() => lastId(reader) === String(seq))
  t.match(entriesOf(reader), [
    { user_id: userId, event: 'login' },
    { user_id: userId, event: 'login' }
  ])
})

t.test('without the scope there is no stream', async (t) => {
  const service = await openService(t)
  t.equal((await service.streamAs(t, await clientToken(service, 'keys', 'keyturn.keys'))).status, 403)
  t.equal((await service.streamAs(t, await userToken(service, 'user', 'profile'))).status, 403)
  t.equal((await service.streamAs(t, 'no token')).status, 401)
  const operator = await service.streamAs(t, await userToken(service, 'operator', 'keyturn.audit'))
  t.equal(operator.status, 200)
})

t.test('a cursor that the trail does not have is refused', async (t) => {
  const service = await openService(t)
  const { seq } = (await service.app.stores.audit.last()) ?? { seq: 0 }
  const far = await service.stream(t, '?after=1000')
  await until(() => far.text() !== '')
  t.equal(far.status, 400)
  t.same(JSON.parse(far.text()), { after: [`Ensure this value is less than or equal to ${seq}.`] })
  t.equal((await service.stream(t, '', { 'last-event-id': 'x' })).status, 400)
  t.equal((await service.stream(t, '?after=x')).status, 400)
})

t.test('a stream ends with its token, its client and the session of its user', async (t) => {
  const service = await openService(t)
  const reader = await service.stream(t)
  const operator = await service.streamAs(t, await userToken(service, 'operator', 'keyturn.audit'))
  await Promise.all([reader.next('caught-up'), operator.next('caught-up')])
  const { userId } = (await service.app.stores.audit.listNewest(1, { event: 'login' }))[0] ?? {}
  await service.app.stores.sessions.revokeAll(String(userId))
  t.equal(await operator.ended, true)
  t.match(operator.text(), /\n\nretry: 1000\n\n$/)

  const deleted = await service.streamAs(t, await clientToken(service, 'deleted', 'keyturn.audit'))
  await deleted.next('caught-up')
  await service.app.stores.clients.delete('deleted')
  t.equal(await deleted.ended, true)

  await reader.next('heartbeat', reader.events.length)
  service.clock.advance(3600)
  t.equal(await reader.ended, true)
})

t.test('the checks of a stream never overlap, and are a second apart', async (t) => {
  const service = await openService(t)
  const reader = await service.streamAs(t, await userToken(service, 'operator', 'keyturn.audit'))
  await reader.next('caught-up')
  const { sessions } = service.app.stores
  const { find } = sessions
  const checks: (() => void)[] = []
  Object.assign(sessions, {
    async find(...args: Parameters<typeof find>) {
      await new Promise<void>((resolve) => checks.push(resolve))
      return await find(...args)
    }
  })
  await until(() => checks.length === 1)
  // Heartbeats are two seconds apart.
  for (let beats = 0; beats < 2; beats++) await reader.next('heartbeat', reader.events.length)
  t.equal(checks.length, 1, 'none begins while another one is in progress')
  const endedAt = performance.now()
  checks[0]?.()
  await until(() => checks.length === 2)
  t.ok(performance.now() - endedAt > 990)
  Object.assign(sessions, { find })
  checks[1]?.()
})

t.test('a check that fails ends the stream, and an outage once the revocations are unknown', async (t) => {
  const service = await openService(t)
  const { flows, revocations } = service.app
  const { authorize } = flows
  const openStream = async () => {
    Object.assign(flows, { authorize })
    const reader = await service.stream(t)
    await reader.next('caught-up')
    return reader
  }
  let checks = 0
  const failWith = (error: Error) => {
    const fail = () => {
      checks += 1
      return Promise.reject(error)
    }
    Object.assign(flows, { authorize: fail })
  }
  for (const error of [new KeyturnError('CLAIMS_FAILED'), new Error('broken')]) {
    const reader = await openStream()
    failWith(error)
    t.equal(await reader.ended, true, error.message)
  }

  const reader = await openStream()
  failWith(new KeyturnError('STORE_DOWN'))
  checks = 0
  await until(() => checks === 2)
  await reader.next('heartbeat', reader.events.length)
  Object.assign(revocations, { isStale: () => true })
  t.equal(await reader.ended, true)
})

t.test('a stream starts only for an Accept that prefers it to JSON, and HEAD opens none', async (t) => {
  const service = await openService(t)
  const page = await service.stream(t, '', { accept: 'text/event-stream;q=0, application/json' })
  t.match(page.headers['content-type'], 'application/json')
  t.equal((await service.stream(t, '', { accept: 'text/event-streamx' })).status, 406)
  const authorization = `Bearer ${await clientToken(service, 'other', 'keyturn.audit')}`
  for (const accept of ['text/event-stream', 'application/json']) {
    const head = await service.app.inject({ method: 'HEAD', url: path, headers: { authorization, accept } })
    t.match(head, { statusCode: 200, body: '', headers: { 'content-type': accept, allow: 'GET, HEAD, OPTIONS' } })
  }
  t.match((await service.app.inject('/metrics')).body, /^keyturn_audit_streams 0$/m)
})

t.test('a worker has a bounded number of streams, and counts them', async (t) => {
  const service = await openService(t)
  const readers = await Promise.all(Array.from({ length: 16 }, () => service.stream(t)))
  t.same([...new Set(readers.map(({ status }) => status))], [200])
  t.match((await service.app.inject('/metrics')).body, /^keyturn_audit_streams 16$/m)
  const refused = await service.stream(t)
  t.equal(refused.status, 503)
  t.match(refused.headers['retry-after'], /^\d+$/)
  readers[0]?.close()
  await until(async () => (await service.stream(t)).status === 200)
})

t.test('an outage of the store ends no stream, and loses nothing', async (t) => {
  const service = await openService(t)
  const reader = await service.stream(t)
  await reader.next('caught-up')
  const { audit } = service.app.stores
  const { last, list } = audit
  const down = () => Promise.reject(new KeyturnError('STORE_DOWN'))
  Object.assign(audit, { last: down, list: down })
  await until(() => service.log.some(({ msg }) => msg === 'audit trail could not be read; its streams wait'))
  t.equal((await service.stream(t)).status, 503)
  Object.assign(audit, { last, list })
  const { userId } = await service.logIn('ann')
  await until(() => entriesOf(reader).some(({ user_id }) => user_id === userId))
  t.same(positionsOf(reader), upTo(entriesOf(reader).length))
})

t.test('a drain ends streams, which do not hold it up', async (t) => {
  const service = await openService(t)
  const reader = await service.stream(t)
  await reader.next('caught-up')
  await service.app.drain({ graceMs: 60_000 })
  t.equal(await reader.ended, true, 'completely')
  t.match(reader.text(), /\n\nretry: 100\n\n$/)
})

t.test('on PostgreSQL the entries of every host come', { skip: withoutPostgres() }, async (t) => {
  const postgres = await needsPostgres(t)
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    KEY_ENCRYPTION_SECRET: 'a secret that encrypts the keys of this test'
  }
  const database = openPostgres(env.DATABASE_URL)
  await migrate(database)
  await database.close()
  const [here, there] = [await openService(t, env), await openApp(t, env)]
  const reader = await here.stream(t)
  await reader.next('caught-up')
  const users = await Promise.all(['ann', 'ben'].map(async (name, index) => (index === 0 ? here : there).logIn(name)))
  await until(() => users.every(({ userId }) => entriesOf(reader).some(({ user_id }) => user_id === userId)))
  t.same(positionsOf(reader), upTo(entriesOf(reader).length))
})

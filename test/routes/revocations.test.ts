/* GET /api/revocations/ over real connections, on both stores. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { until } from '../conformance/feed.ts'
import { openApp, type TestApp } from '../support/app.ts'
import { addClient, basic, type TestClient } from '../support/client.ts'
import { readEvents } from '../support/events.ts'
import { needsRedis, withoutRedis } from '../support/needs.ts'

const scope = 'keyturn.revocations'
const path = '/api/revocations/'

interface Service extends TestApp {
  readonly url: string
  readonly client: TestClient
  /** A stream of the client's. */
  stream(t: Pick<Test, 'teardown'>, headers?: Record<string, string>): ReturnType<typeof readEvents>
  page(query?: string): Promise<ReturnType<typeof JSON.parse>>
  /** Logs in and out again: the session that ended. */
  logOut(username: string): Promise<string>
}

async function openService(t: Pick<Test, 'teardown'>, env: Record<string, string> = {}): Promise<Service> {
  const service = await openApp(t, env)
  await service.app.listen({ port: 0 })
  const url = `http://127.0.0.1:${(service.app.server.address() as AddressInfo).port}${path}`
  const client = await addClient(service, 'gateway', ['orders.read', scope])
  const { authorization } = client
  return {
    ...service,
    url,
    client,
    stream: (t, headers = {}) => readEvents(t, url, { authorization, ...headers }),
    page: async (query = '') =>
      (await service.app.inject({ url: `${path}${query}`, headers: { authorization } })).json(),
    async logOut(username) {
      const { refresh } = await service.logIn(username)
      await service.post('/api/token/blacklist/', { refresh })
      return JSON.parse(Buffer.from(refresh.split('.')[1] ?? '', 'base64url').toString()).sid
    }
  }
}

async function suite(t: Test, env: Record<string, string>): Promise<void> {
  const service = await openService(t, env)

  await t.test('a logout arrives at every stream, and the next one begins with it', async (t) => {
    const reader = await service.stream(t)
    t.equal(reader.status, 200)
    t.equal((await service.stream(t, { accept: 'Text/Event-Stream' })).status, 200, 'a media type in any case')
    t.match(reader.headers, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      connection: 'close'
    })
    const { data } = await reader.next('caught-up')
    t.match(data, { window: 360, lost_before: Number, epoch: Number, now: service.clock() })
    t.ok(data.age >= 0 && data.age < 30_000, 'milliseconds')
    const sid = await service.logOut('ann')
    const { id, data: revoked } = await reader.next('revoked')
    t.match(revoked, [{ sid, until: Number }])
    t.ok(revoked[0].until >= service.clock() + 360)
    const beat = await reader.next('heartbeat', reader.events.length)
    t.same([beat.id, beat.data.cursor], [id, id])
    reader.close()

    const later = await service.stream(t)
    await later.next('caught-up')
    t.same(later.events[0], { event: 'revoked', id, data: revoked })
    const other = await service.logOut('ben')
    const resumed = await service.stream(t, { 'last-event-id': id ?? '' })
    await resumed.next('revoked')
    t.match(
      resumed.events[0],
      { event: 'revoked', data: [{ sid: other }] },
      'and one that resumes with what came since'
    )
  })

  await t.test('an access token that is revoked alone arrives by its jti', async (t) => {
    const reader = await service.stream(t)
    await reader.next('caught-up')
    const seen = reader.events.length
    const { access } = await service.logIn('carl')
    await service.client.post('/oauth/revoke', { token: access })
    const { jti } = JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString())
    t.match((await reader.next('revoked', seen)).data, [{ jti }])
  })

  await t.test('pollers get the same in pages', async (t) => {
    const sid = await service.logOut('dora')
    await until(async () => JSON.stringify((await service.page()).revoked).includes(sid))
    const all = await service.page()
    t.match(all, { reset: false, caught_up: true, window: 360 })
    t.same((await service.page(`?after=${all.cursor}`)).revoked, [])
    t.match(await service.page('?after=1.x'), { reset: true, revoked: all.revoked })
    t.match(await service.page('?after='), { reset: false, revoked: all.revoked }, 'an empty cursor is none')
    t.same(await service.page('?after=1&after=2'), { after: ['It must be there once.'] })
    const headers = { authorization: service.client.authorization, 'last-event-id': all.cursor }
    t.same(
      (await service.app.inject({ url: `${path}?after=1.x`, headers })).json().revoked,
      [],
      'the header comes first'
    )
  })

  await t.test('a client that is deleted loses its stream', async (t) => {
    const other = await addClient(service, 'other', [scope])
    const reader = await readEvents(t, service.url, { authorization: other.authorization })
    await reader.next('caught-up')
    await service.app.stores.clients.delete('other')
    t.equal(await reader.ended, true)
  })

  await t.test('the metrics count streams', async (t) => {
    const reader = await service.stream(t)
    await reader.next('caught-up')
    const text = (await service.app.inject('/metrics')).body
    t.match(text, /^keyturn_revocation_streams [1-9]/m)
    t.match(text, 'keyturn_revocation_stream_lag 0\n')
    t.match(text, /^keyturn_revocation_feed_age_seconds \d/m)
    t.match(text, /^keyturn_revocation_reads_total{result="ok"} \d/m)
  })

  await t.test('a drain ends streams, which do not hold it up', async (t) => {
    const reader = await service.stream(t)
    await reader.next('caught-up')
    await service.app.drain({ graceMs: 60_000 })
    t.equal(await reader.ended, true, 'completely')
    t.match(reader.text(), /\n\nretry: 100\n\n$/)
  })
}

t.test('on the embedded store', (t) => suite(t, {}))

t.test('on Redis', { skip: withoutRedis() }, async (t) => {
  const redis = await needsRedis(t)
  await suite(t, { REDIS_URL: redis.url.startsWith('/') ? `redis://${redis.url}` : redis.url })
})

t.test('only clients with the scope, and only GET and HEAD', async (t) => {
  const service = await openService(t, { MAX_REVOCATION_STREAMS: '1' })
  const { authorization } = service.client
  const without = await addClient(service, 'without', ['orders.read'])
  const get = (headers: Record<string, string>) => service.app.inject({ url: path, headers })
  for (const [name, headers] of [
    ['no client', {}],
    ['a wrong secret', { authorization: basic('gateway', 'x') }],
    ['a bearer token', { authorization: 'Bearer x' }]
  ] as const) {
    const answer = await get(headers)
    t.equal(answer.statusCode, 401, name)
    t.equal(answer.headers['www-authenticate'], 'Basic realm="api"', name)
    t.same(answer.json(), { detail: 'Client authentication failed.' }, name)
  }
  const refused = await get({ authorization: without.authorization })
  t.equal(refused.statusCode, 403)
  t.same(refused.json(), { detail: 'You do not have permission to perform this action.' })
  t.equal(refused.headers['www-authenticate'], 'Basic realm="api"')
  t.equal((await get({ authorization, accept: 'text/html' })).statusCode, 406)
  for (const method of ['POST', 'DELETE'] as const)
    t.equal((await service.app.inject({ method, url: path, headers: { authorization } })).statusCode, 405, method)
  t.equal(
    (await service.app.inject({ url: '/api/sessions/', headers: { accept: 'text/event-stream' } })).statusCode,
    406
  )

  const first = await service.stream(t)
  await first.next('caught-up')
  const second = await service.stream(t)
  t.equal(second.status, 503)
  t.match(second.headers['retry-after'], /^[1-9]\d*$/)
  first.close()
  await until(() => service.app.revocationStreams.count === 0, 5000)
  await (await service.stream(t)).next('caught-up')
})

t.test('a stream starts only for an Accept that prefers it to JSON', async (t) => {
  const service = await openService(t)
  const { authorization } = service.client
  const typeOf = async (accept: string): Promise<unknown> => {
    const reader = await readEvents(t, service.url, { authorization, accept })
    reader.close()
    return reader.status === 200 ? reader.headers['content-type'] : reader.status
  }
  const rows: readonly (readonly [type: unknown, ...accepts: readonly string[]])[] = [
    [
      'text/event-stream',
      'text/event-stream;q=0.001',
      'text/event-stream; charset=utf-8 ; Q=1.0',
      'application/json, text/event-stream',
      'text/event-stream, */*',
      'text/*',
      'text/html, application/json;q=0.5, text/*;q=0.6',
      '*/*;q=0.1, text/event-stream;q=0.1',
      'text/html;level="a,text/event-stream;q=0", text/event-stream'
    ],
    [
      'application/json',
      'text/event-stream;q=0.5, application/json',
      'text/event-stream;q=0, */*',
      'text/*;q=0, */*',
      'text/event-streamx, application/json',
      'text/*, application/json',
      'text/html;level=",text/event-stream,", */*;q=0.1'
    ],
    [
      406,
      'text/event-stream;q=0',
      'text/event-streamx',
      'xtext/event-stream',
      'text/html;x=text/event-stream',
      'text/event-stream;q=2'
    ]
  ]
  for (const [type, ...accepts] of rows) for (const accept of accepts) t.equal(await typeOf(accept), type, accept)
})

t.test('HEAD has the header fields of GET, and opens no stream', async (t) => {
  const service = await openService(t)
  const { authorization } = service.client
  for (const accept of ['text/event-stream', 'application/json']) {
    const head = await fetch(service.url, { method: 'HEAD', headers: { authorization, accept } })
    const get = await readEvents(t, service.url, { authorization, accept })
    t.equal(head.status, 200, accept)
    for (const name of ['content-type', 'cache-control', 'x-accel-buffering', 'allow', 'vary'])
      t.equal(head.headers.get(name) ?? undefined, get.headers[name], `${name} of ${accept}`)
    t.equal(head.headers.get('allow'), 'GET, HEAD, OPTIONS')
    t.equal(head.headers.has('content-length'), accept === 'application/json', 'a stream has no length')
    get.close()
  }
  await until(() => service.app.revocationStreams.count === 0, 5000)
  const unknown = await fetch(service.url, { method: 'HEAD', headers: { accept: 'text/event-stream' } })
  t.equal(unknown.status, 401)
})

t.test('HTTP/1.0, as a proxy may speak it, gets the stream too', async (t) => {
  const service = await openService(t)
  const { connect } = await import('node:net')
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1').setEncoding('utf8')
  t.teardown(() => socket.destroy())
  let text = ''
  socket.on('data', (chunk: string) => {
    text += chunk
  })
  await once(socket, 'connect')
  const { authorization } = service.client
  socket.write(
    `GET ${path} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: ${authorization}\r\n\r\n`
  )
  await until(() => text.includes('event: caught-up\n'), 5000)
  t.match(text, '\r\n\r\nretry: 1000\n\nevent: caught-up\n', 'and it is not chunked')
})

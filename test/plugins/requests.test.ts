/* What is around every request: who sent it, what it is called, what it may cost, and what is said of it. */
import { type AddressInfo, connect } from 'node:net'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { type ErrorCode, errorTable, KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { addClient } from '../support/client.ts'

const verify = '/api/token/verify/'

t.test('a valid X-Request-ID is returned to the client and logged', async (t) => {
  const { app, post, log } = await openApp(t)
  const good = ['a'.repeat(20), 'Z9+/=-'.repeat(33).slice(0, 200), '01234567-89ab-cdef-0123-456789abcdef']
  const bad = [
    'a'.repeat(19),
    'a'.repeat(201),
    '',
    `${'a'.repeat(20)} `.repeat(2),
    `${'a'.repeat(20)}"`,
    'ä'.repeat(20)
  ]
  for (const id of good) {
    t.equal((await post(verify, {}, { 'x-request-id': id })).headers['x-request-id'], id)
    t.equal(log.at(-1)?.reqId, id)
  }
  for (const id of bad) {
    const given = (await post(verify, {}, { 'x-request-id': id })).headers['x-request-id']
    t.match(given, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, `not ${id}`)
    t.equal(log.at(-1)?.reqId, given)
  }
  for (const url of ['/health/live', '/nowhere', '/api/token']) {
    t.match((await app.inject(url)).headers['x-request-id'], /^[0-9a-f-]{36}$/, 'every answer has one')
  }
})

t.test('traceparent is in every line of the log, and comes back', async (t) => {
  const { post, log } = await openApp(t)
  const id = '4bf92f3577b34da6a3ce929d0e0e4736'
  const good = [
    `00-${id}-00f067aa0ba902b7-01`,
    `00-${id}-00f067aa0ba902b7-00`,
    `cc-${id}-00f067aa0ba902b7-01-what-comes`
  ]
  for (const traceparent of good) {
    t.equal((await post(verify, {}, { traceparent })).headers.traceparent, traceparent)
    t.match(log.at(-1), { trace_id: id, span_id: '00f067aa0ba902b7' })
  }
  const bad = [
    '',
    id,
    `00-${id}-00f067aa0ba902b7`,
    `00-${id}-00f067aa0ba902b7-01-more`,
    `00-${id.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `00-${id}-${'0'.repeat(16)}-01`,
    `ff-${id}-00f067aa0ba902b7-01`,
    `00-${id}-00f067aa0ba902b7-01, 00-${id}-00f067aa0ba902b7-01`
  ]
  for (const traceparent of bad) {
    t.equal((await post(verify, {}, { traceparent })).headers.traceparent, undefined, `not ${traceparent}`)
    t.notOk('trace_id' in (log.at(-1) ?? {}) || 'span_id' in (log.at(-1) ?? {}))
  }
})

t.test('every answer tells browsers to do nothing with it', async (t) => {
  const { app, post } = await openApp(t)
  const wanted = {
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY'
  }
  const answers = [
    await post(verify, {}),
    await post(verify, '{'),
    await app.inject('/nowhere'),
    await app.inject('/api/%zz'),
    await app.inject({ method: 'OPTIONS', url: verify }),
    await app.inject({ method: 'DELETE', url: verify }),
    await app.inject('/health/live'),
    await app.inject('/.well-known/jwks.json'),
    await app.inject('/api/token/forward-auth/')
  ]
  for (const { headers, raw } of answers) t.match(headers, wanted, raw.req.url ?? '')
  for (const { headers } of answers) t.notOk('strict-transport-security' in headers)
})

t.test("the client's address: the last entry of X-Forwarded-For, and only from a trusted peer", async (t) => {
  const clientOf = async ({ app, log }: TestApp, remoteAddress: string, forwarded?: string): Promise<unknown> => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
    await app.inject({ method: 'POST', url: verify, remoteAddress, headers })
    return log.at(-1)?.ip
  }
  const local = await openApp(t)
  t.equal(await clientOf(local, '127.0.0.1'), '127.0.0.1')
  t.equal(await clientOf(local, '127.0.0.1', '192.0.2.1'), '192.0.2.1')
  t.equal(
    await clientOf(local, '127.0.0.1', '198.51.100.9, 192.0.2.1'),
    '192.0.2.1',
    'the rest is what the client says'
  )
  t.equal(await clientOf(local, '::1', '198.51.100.9,2001:db8::1'), '2001:db8::1')
  t.equal(await clientOf(local, '::ffff:127.0.0.1', '192.0.2.1'), '192.0.2.1', 'an IPv4 peer on a dual-stack socket')
  t.equal(await clientOf(local, '127.0.0.1', '192.0.2.1, 127.0.0.1'), '127.0.0.1', 'one hop is believed, not two')
  t.equal(await clientOf(local, '127.0.0.1', '192.0.2.1:4711'), '192.0.2.1', 'some proxies tell the port')
  t.equal(await clientOf(local, '127.0.0.1', '[2001:db8::1]:4711'), '2001:db8::1')
  for (const rubbish of ['unknown', '192.0.2.1, unknown', '192.0.2.1,', '', ' ', '192.0.2.256', '{"ip":1}']) {
    t.equal(await clientOf(local, '127.0.0.1', rubbish), '127.0.0.1', `not an address: ${rubbish}`)
  }
  t.equal(await clientOf(local, '198.51.100.7', '192.0.2.1'), '198.51.100.7')
  t.equal(await clientOf(local, '2001:db8::7', '192.0.2.1'), '2001:db8::7')

  const ranges = await openApp(t, { FORWARDED_ALLOW_IPS: '10.0.0.0/8, fd00::/8' })
  t.equal(await clientOf(ranges, '10.255.0.1', '192.0.2.1'), '192.0.2.1')
  t.equal(await clientOf(ranges, 'fd12::1', '192.0.2.1'), '192.0.2.1')
  t.equal(await clientOf(ranges, '11.0.0.1', '192.0.2.1'), '11.0.0.1')
  t.equal(await clientOf(ranges, '127.0.0.1', '192.0.2.1'), '127.0.0.1', 'not in the list any more')

  const all = await openApp(t, { FORWARDED_ALLOW_IPS: '*' })
  t.equal(await clientOf(all, '203.0.113.5', '198.51.100.9, 192.0.2.1'), '192.0.2.1')
})

t.test("the client's address has one spelling in the log, the audit trail and its session", async (t) => {
  const { app, log, addUser } = await openApp(t)
  await addUser('vitor', aPassword)
  const payload = { username: 'vitor', password: aPassword }
  for (const [spelling, address] of [
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:FFFF:192.0.2.1', '192.0.2.1'],
    ['2001:0DB8:0:0::0001', '2001:db8::1']
  ] as const) {
    const asPeer = { remoteAddress: spelling }
    const asForwarded = { headers: { 'x-forwarded-for': spelling } }
    for (const from of [asPeer, asForwarded]) {
      const login = await app.inject({ method: 'POST', url: '/api/token/', payload, ...from })
      t.equal(log.at(-1)?.ip, address, spelling)
      const headers = { authorization: `Bearer ${login.json().access}` }
      const { sessions } = (await app.inject({ url: '/api/sessions/', headers })).json()
      t.match(sessions, [{ ip: address, current: true }], spelling)
      await app.auditTrail.settled()
      t.match(await app.stores.audit.listNewest(1), [{ event: 'login', ip: address }], spelling)
      await app.inject({ method: 'DELETE', url: '/api/sessions/', headers })
    }
  }
})

/** Status and seconds of a 429, after a look at all of it. */
function throttled(t: Test, answer: LightMyRequestResponse): number {
  const seconds = Number(/(\d+) seconds?\./.exec(answer.body)?.[1])
  t.equal(answer.statusCode, 429)
  const retryAfter = Number(answer.headers['retry-after'])
  t.ok(retryAfter >= seconds && retryAfter <= seconds + 4, `Retry-After: ${retryAfter}`)
  const unit = seconds === 1 ? 'second' : 'seconds'
  t.equal(answer.body, `{"detail":"Request was throttled. Expected available in ${seconds} ${unit}."}`)
  t.match(answer.headers, { allow: 'POST, OPTIONS', 'content-type': 'application/json' })
  return seconds
}

t.test('rate limits, by address and endpoint', async (t) => {
  const limits = { RATE_LIMIT_OBTAIN: '2/m', RATE_LIMIT_REFRESH: '1/s', RATE_LIMIT_VERIFY: '1/h' }
  const { app, post, log } = await openApp(t, limits)
  const from = (remoteAddress: string, url = '/api/token/', method = 'POST') =>
    app.inject({ method: method as 'POST', url, remoteAddress })
  for (const status of [400, 400]) t.equal((await post('/api/token/', {})).statusCode, status)
  const seconds = throttled(t, await post('/api/token/', {}))
  t.ok(seconds > 55 && seconds <= 60)
  t.match(log.at(-1), { status: 429, refusal: 'RATE_LIMITED', route: '/api/token' })
  throttled(t, await post('/api/token', {}))

  const first = await from('192.0.2.1')
  t.equal(first.statusCode, 400, 'another address')
  t.match(first.headers, { 'ratelimit-policy': '"obtain";q=2;w=60', ratelimit: '"obtain";r=1;t=60' })
  t.match((await from('127.0.0.1')).headers, {
    'ratelimit-policy': '"obtain";q=2;w=60',
    ratelimit: /^"obtain";r=0;t=\d+$/
  })
  t.same(
    Object.keys(first.headers).filter((name) => name.startsWith('x-ratelimit')),
    []
  )
  t.equal((await from('127.0.0.1', '/api/token/', 'GET')).statusCode, 405, 'only what costs is counted')
  t.equal((await from('127.0.0.1', '/api/token/', 'OPTIONS')).statusCode, 200)
  t.equal((await from('127.0.0.1', '/api/token/blacklist/')).statusCode, 400, 'a logout is never refused')

  t.equal((await post('/api/token/refresh/', {})).statusCode, 400)
  t.equal(throttled(t, await post('/api/token/refresh/', {})), 1)
  t.equal((await post(verify, {})).statusCode, 400)
  t.ok(throttled(t, await post(verify, {})) > 3500)

  for (const status of [400, 400]) t.equal((await from('2001:db8:1:2::1')).statusCode, status)
  throttled(t, await from('2001:db8:1:2:ffff::9'))
  t.equal((await from('2001:db8:1:3::1')).statusCode, 400, 'an IPv6 client is its /64')
})

t.test('limits of what is read', async (t) => {
  const { addUser, post } = await openApp(t, { BODY_LIMIT: '2048' })
  const name = 'n'.repeat(254)
  const password = 'p'.repeat(1024)
  await addUser(name, password)
  const logIn = async (username: string, password: string): Promise<[number, unknown]> => {
    const { statusCode, json } = await post('/api/token/', { username, password })
    return [statusCode, Object.keys(json()).join() === 'refresh,access' ? 'a pair' : json()]
  }
  const overlong = {
    username: ['Ensure this field has no more than 254 characters.'],
    password: ['Ensure this field has no more than 1024 bytes.']
  }
  t.same(await logIn(name, password), [200, 'a pair'], 'the longest there are')
  t.same(await logIn(`${name}n`, password), [400, { username: overlong.username }])
  t.same(await logIn(name, `${password}p`), [400, { password: overlong.password }], 'refused, not cut')
  t.same(await logIn(name, 'é'.repeat(513)), [400, { password: overlong.password }], 'bytes, not characters')
  t.same(await logIn(`${name}n`, `${password}p`), [400, overlong], 'both at once')
  t.same(
    await logIn('\ufb03'.repeat(85), password),
    [400, { username: overlong.username }],
    'after NFKC: ﬃ is three letters'
  )

  const tooLarge = await post(verify, { token: 'x'.repeat(2048) })
  t.equal(tooLarge.statusCode, 413)
  t.equal(tooLarge.body, '{"detail":"The request body is too large: at most 2048 bytes are read."}')
  t.match(tooLarge.headers, { allow: 'POST, OPTIONS', 'content-type': 'application/json' })
  t.equal((await post(verify, { token: 'x'.repeat(2048 - 12) })).statusCode, 401, 'the largest body there is')
})

t.test('a store that fails is 503 with Retry-After, and no session is harmed', async (t) => {
  const { app, clock, log, logIn, post } = await openApp(t)
  const { refresh } = await logIn()
  const { users, sessions } = app.stores
  const down = async () => {
    throw new KeyturnError('STORE_DOWN', { detail: 'PostgreSQL: gone', retryAfter: 7, cause: new Error('ECONNRESET') })
  }
  const find = t.intercept(users, 'findByUsername', { value: down })
  const answer = await post('/api/token/', { username: 'vitor', password: aPassword })
  t.equal(answer.statusCode, 503)
  t.match(answer.headers['retry-after'], /^([7-9]|1[01])$/)
  t.equal(answer.body, '{"detail":"Service temporarily unavailable."}')
  t.match(answer.headers, { allow: 'POST, OPTIONS', vary: 'Accept', 'content-type': 'application/json' })
  t.match(log.at(-2), { level: 50, code: 'STORE_DOWN', err: { message: 'ECONNRESET' } })
  t.match(log.at(-1), { level: 30, status: 503, refusal: 'STORE_DOWN', detail: 'PostgreSQL: gone' })
  find.restore()

  const rotate = t.intercept(sessions, 'rotate', { value: down })
  t.equal((await post('/api/token/refresh/', { refresh })).statusCode, 503)
  rotate.restore()
  const findById = t.intercept(users, 'findById', { value: down })
  t.equal((await post('/api/token/refresh/', { refresh })).statusCode, 503)
  findById.restore()
  const revoke = t.intercept(sessions, 'revoke', { value: down })
  t.equal((await post('/api/token/blacklist/', { refresh })).statusCode, 503, 'a logout that failed is no 200')
  revoke.restore()
  const lookup = t.intercept(sessions, 'find', { value: down })
  t.equal((await post(verify, { token: refresh })).statusCode, 503)
  lookup.restore()
  clock.advance(60)
  t.equal((await post('/api/token/refresh/', { refresh })).statusCode, 200, 'the token was not used up')
})

/** Sends bytes to the application over a connection of their own, and resolves with everything that it answers. */
async function listen(app: FastifyInstance): Promise<(text: string) => Promise<string>> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return async (text) => {
    const socket = connect(port, '127.0.0.1').setEncoding('utf8').end(text, 'latin1')
    const answer: string[] = []
    for await (const chunk of socket) answer.push(chunk)
    return answer.join('')
  }
}

t.test('malformed HTTP gets a response in our format', async (t) => {
  const { app, log, logIn } = await openApp(t)
  const { access } = await logIn()
  const headers = { authorization: `Bearer ${access}` }
  for (const url of ['/api/%zz', '/api/sessions/%ff', `/api/sessions/${'x'.repeat(300)}`]) {
    const answer = await app.inject({ method: 'DELETE', url, headers })
    t.equal(answer.statusCode, 404, url.slice(0, 20))
    t.equal(answer.body, '{"detail":"Not found."}')
    t.equal(answer.headers['content-type'], 'application/json', 'without a charset, as everywhere')
    t.match(log.at(-1), { status: 404, refusal: 'NOT_FOUND' }, 'with its line in the log')
    t.match(answer.headers, { 'content-type': 'application/json', 'x-request-id': /^[0-9a-f-]{36}$/ })
  }
  const send = await listen(app)
  const host = 'The request must have exactly one valid Host field.'
  const expectation = 'The request expects more than 100-continue.'
  const end = 'Connection: close\r\n\r\n'
  const post = 'POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  const rows: readonly (readonly [name: string, text: string, status: number, detail: string])[] = [
    ['malformed HTTP', 'hello\r\n\r\n', 400, 'Malformed HTTP request.'],
    [
      'two lengths',
      `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'Malformed HTTP request.'
    ],
    ['a header block too large', `${post}X: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'The header fields are too large.'],
    ['two Host fields', `${post}host: y\r\n${end}`, 400, host],
    ['two equal Host fields', `${post}HOST: x\r\n${end}`, 400, host],
    ['no Host', `GET /nowhere HTTP/1.1\r\n${end}`, 400, host],
    ['two Host fields in HTTP/1.0', `GET /nowhere HTTP/1.0\r\nHost: x\r\nHost: y\r\n${end}`, 400, host],
    ['no Host, with an absolute target', `GET http://x/nowhere HTTP/1.1\r\n${end}`, 400, host],
    ['no Host in HTTP/1.0', `GET /nowhere HTTP/1.0\r\n${end}`, 404, 'Not found.'],
    ['an unknown Expect', `${post}Expect: 200-ok\r\nContent-Length: 2\r\n${end}`, 417, expectation]
  ]
  for (const [name, text, status, detail] of rows) {
    const [head = '', body] = (await send(text)).split('\r\n\r\n')
    t.match(
      head,
      new RegExp(`^HTTP/1\\.1 ${status} [^]*Content-Type: application/json\r\n[^]*Connection: close`, 'i'),
      name
    )
    t.match(head, /\r\nx-content-type-options: nosniff\r\n/)
    t.same(JSON.parse(body ?? ''), { detail })
  }

  const token = JSON.stringify({ token: access })
  const rest = `Host: x\r\nContent-Type: application/json\r\nContent-Length: ${token.length}\r\n${end}${token}`
  for (const target of ['http://id.example.com/api/token/verify/', 'HTTPS://u@x:1/api/token/verify?a=http://b/'])
    t.match(await send(`POST ${target} HTTP/1.1\r\n${rest}`), /^HTTP\/1\.1 200 OK/, target)
  for (const target of ['http://x', 'http://x?a=b', 'http://x/%zz'])
    t.match(await send(`POST ${target} HTTP/1.1\r\n${rest}`), /^HTTP\/1\.1 404/, target)
  const expects = `Expect: 100-continue\r\n${rest}`
  t.match(await send(`POST ${verify} HTTP/1.1\r\n${expects}`), /^HTTP\/1\.1 100 .*HTTP\/1\.1 200/s)
})

t.test('a transfer coding besides chunked is refused, and its connection is closed', async (t) => {
  const { app, log, logIn } = await openApp(t)
  const { access } = await logIn()
  const send = await listen(app)
  const token = JSON.stringify({ token: access })
  const body = `${token.length.toString(16)}\r\n${token}\r\n0\r\n\r\n`
  const post = (fields: readonly string[], version = '1.1'): string =>
    [`POST ${verify} HTTP/${version}`, 'Host: x', 'Content-Type: application/json', ...fields, '', body].join('\r\n')
  const next = 'GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  const unknown = 'The only transfer coding that is implemented is chunked.'
  const faulty = 'The request cannot be read.'
  const rows: readonly (readonly [fields: readonly string[], status: number, detail: string, version?: string])[] = [
    ...[['gzip, chunked'], ['gzip', 'chunked'], ['identity, chunked'], ['gzip;q=1,x-other , Chunked']].map(
      (codings) => [codings.map((each) => `Transfer-Encoding: ${each}`), 501, unknown] as const
    ),
    [['Transfer-Encoding: gzip, chunked', 'Expect: 100-continue'], 501, unknown],
    [['Transfer-Encoding: chunked, chunked'], 400, faulty],
    [['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], 400, faulty],
    [['Transfer-Encoding: chunked'], 400, faulty, '1.0'],
    ...['gzip', 'identity', 'chunked, gzip', 'chunked;q=1', 'gzip, chunked, gzip', ''].map(
      (coding) => [[`Transfer-Encoding: ${coding}`], 400, faulty] as const
    )
  ]
  for (const [fields, status, detail, version] of rows) {
    const name = `HTTP/${version ?? '1.1'} ${fields.join(', ')}`
    const answer = await send(`${post(fields, version)}${next}`)
    t.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, `${name}: one answer, and nothing after it`)
    const [head = '', sent] = answer.split('\r\n\r\n')
    t.match(head, new RegExp(`^HTTP/1\\.1 ${status} [^]*\r\nconnection: close(\r\n|$)`, 'i'), name)
    // If the parser of Node finds the fault first, the detail is its own.
    const details = [detail, ...(detail === faulty ? ['Malformed HTTP request.'] : [])]
    t.ok(details.map((each) => JSON.stringify({ detail: each })).includes(sent ?? ''), name)
  }
  t.match(
    log.find(({ status }) => status === 501),
    { level: 30, refusal: 'TRANSFER_CODING' }
  )
  t.notOk(
    log.some(({ level }) => Number(level) > 30),
    'and nothing for the operator to fix'
  )
  for (const codings of ['chunked', ', CHUNKED'])
    t.match(
      await send(`${post([`Transfer-Encoding: ${codings}`])}${next}`),
      /^HTTP\/1\.1 200 .*HTTP\/1\.1 200 /s,
      codings
    )
})

t.test('what cannot be parsed is answered in turn, and no request twice', async (t) => {
  const { app } = await openApp(t)
  await listen(app)
  const { port } = app.server.address() as AddressInfo
  const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status))

  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  socket.write('GET /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
  let answer = ''
  for await (const chunk of socket) {
    answer += chunk
    if (answer.endsWith('{"detail":"Not found."}')) socket.write('not a chunk\r\n')
  }
  t.same(statuses(answer), [404], 'a body, after its request was answered')

  const answersTo = async (text: string): Promise<readonly number[]> => {
    // Left open: a client that closes its side gives up the responses that it waits for.
    const pipelined = connect(port, '127.0.0.1').setEncoding('utf8')
    pipelined.write(text)
    return statuses((await pipelined.toArray()).join(''))
  }
  // Hashing a password takes a while.
  const body = JSON.stringify({ username: 'x', password: 'x' })
  const head = `Host: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`
  const login = `POST /api/token/ HTTP/1.1\r\n${head}\r\n\r\n${body}`
  t.same(await answersTo(`${login}not HTTP\r\n\r\n`), [401, 400], 'malformed HTTP, after a request')
  t.same(await answersTo(`${login}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`), [401, 501], 'CONNECT, after a request')
})

t.test('CONNECT is answered, and its connection is closed', async (t) => {
  const { app } = await openApp(t)
  const send = await listen(app)
  for (const target of ['example.com:443', '127.0.0.1:22']) {
    const answer = await send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\nGET / HTTP/1.1\r\n\r\n`)
    const [head = '', body] = answer.split('\r\n\r\n')
    t.match(
      head,
      /^HTTP\/1\.1 501 Not Implemented\r\n.*\r\ncontent-type: application\/json\r\n.*\r\nconnection: close$/is
    )
    t.equal(body, '{"detail":"Method \\"CONNECT\\" not allowed."}')
  }
})

t.test('OPTIONS * is answered for the server as a whole', async (t) => {
  for (const env of [{}, { CORS_ORIGINS: 'https://app.example' }]) {
    const { app, log } = await openApp(t, env)
    const send = await listen(app)
    for (const target of ['*', 'http://id.example.com', 'http://id.example.com:8000']) {
      const answer = await send(`OPTIONS ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      t.match(answer, /^HTTP\/1\.1 204 No Content\r\n/, target)
      t.match(answer, /\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n/i, target)
      t.match(answer, /\r\nx-request-id: /i, target)
      t.match(log.at(-1), { status: 204, method: 'OPTIONS' })
    }
    t.match(await send('OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /, 'without Host')
    for (const target of ['http://id.example.com/', '/'])
      t.match(
        await send(`OPTIONS ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
        /^HTTP\/1\.1 404 /,
        target
      )
  }
})

t.test('a target in none of the forms that its method may have is refused', async (t) => {
  const { app, log } = await openApp(t)
  const send = await listen(app)
  for (const [method, target] of [
    ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].map((method) => [method, '*'] as const),
    ['GET', '*/api/token/'],
    ['GET', '*%'],
    ['OPTIONS', '*?a=b'],
    ['OPTIONS', 'ftp://id.example.com'],
    ['GET', 'ftp://id.example.com/health/live']
  ] as const) {
    const answer = await send(`${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    const [head = '', body] = answer.split('\r\n\r\n')
    t.match(head, /^HTTP\/1\.1 400 Bad Request\r\n.*\r\ncontent-type: application\/json\r\n/is, `${method} ${target}`)
    t.equal(body, method === 'HEAD' ? '' : '{"detail":"The request cannot be read."}', `${method} ${target}`)
    t.match(log.at(-1), { status: 400, method, refusal: 'BODY_UNREADABLE' })
  }
})

t.test('an expectation beside 100-continue is refused before anything of the body is asked for', async (t) => {
  const { app } = await openApp(t)
  const send = await listen(app)
  const request = (version: string, ...expectations: readonly string[]): string =>
    [
      `POST /nowhere HTTP/${version}`,
      'Host: x',
      ...expectations.map((each) => `Expect: ${each}`),
      'Content-Type: application/json',
      'Content-Length: 2',
      'Connection: close',
      '',
      '{}'
    ].join('\r\n')
  for (const expectations of [
    ['foo'],
    ['100-continue, foo'],
    ['foo,100-continue'],
    ['100-continue', 'foo'],
    ['foo', '100-continue'],
    ['100-continue;q=1'],
    ['100-continue=1']
  ]) {
    const [head = '', body] = (await send(request('1.1', ...expectations))).split('\r\n\r\n')
    t.match(head, /^HTTP\/1\.1 417 /, `${expectations}`)
    t.equal(body, '{"detail":"The request expects more than 100-continue."}', `${expectations}`)
  }
  for (const expectations of [['100-continue'], ['100-Continue , 100-continue'], ['100-continue', '100-continue,']])
    t.match(await send(request('1.1', ...expectations)), /^HTTP\/1\.1 100 .*HTTP\/1\.1 404 /s, `${expectations}`)
  t.match(await send(request('1.0', 'foo')), /^HTTP\/1\.1 404 /, 'HTTP/1.0 has no expectations')
})

t.test('an invalid Host is refused, also of HTTP/1.0 and as the authority of a target', async (t) => {
  const { app } = await openApp(t)
  const send = await listen(app)
  const refused = /^HTTP\/1\.1 400 .*\{"detail":"The request must have exactly one valid Host field\."\}$/s
  const get = (target: string, version: string, host: string): Promise<string> =>
    send(`GET ${target} HTTP/${version}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
  const invalid = [
    '',
    'a b',
    'u@x',
    'a/b',
    'a?b',
    'x:port',
    'x:80:80',
    ':80',
    '::1',
    '[::1',
    'a\tb',
    'b\u00fccher.example'
  ]
  for (const host of invalid) {
    t.match(await get('/nowhere', '1.1', host), refused, host)
    t.match(await get('/nowhere', '1.0', host), refused, host)
    t.match(await get('http://x/nowhere', '1.1', host), refused, `${host}, beside an absolute target`)
  }
  for (const authority of ['', ':80', 'x:port', 'u@v@x', 'a\\b'])
    t.match(await get(`http://${authority}/nowhere`, '1.1', 'x'), /^HTTP\/1\.1 400 /, `${authority} in the target`)
  for (const host of ['id.example.com', 'my_service:8000', '127.0.0.1', '[::1]', '[2001:DB8::1]:443']) {
    t.match(await get('/nowhere', '1.1', host), /^HTTP\/1\.1 404 /, host)
    t.match(await get(`http://${host}/nowhere`, '1.1', host), /^HTTP\/1\.1 404 /, `${host} in the target`)
  }
})

t.test(
  'two Authorization fields are refused by every endpoint that requires one, and a login ignores them',
  async (t) => {
    const service = await openApp(t, { METRICS_TOKEN: 'a token of the metrics', SLIDING_TOKENS: 'true' })
    const { app, log } = service
    const { access } = await service.logIn()
    const client = await addClient(service)
    const refusals = {
      bearer: [`Bearer ${access}`, 'BEARER_MALFORMED', 401],
      clientBasic: [client.authorization, 'OAUTH_REQUEST', 400],
      metricsToken: ['Bearer a token of the metrics', 'NOT_FOUND', 404]
    } as const
    type Operations = Record<string, { readonly security?: readonly object[] }>
    const { paths } = (await app.inject('/openapi.json')).json<{ paths: Record<string, Operations> }>()
    const protectedPaths = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).flatMap(([method, { security = [] }]) => {
        const [scheme] = security.flatMap((each) => Object.keys(each))
        return scheme === undefined ? [] : [{ path, method, scheme: scheme as keyof typeof refusals }]
      })
    )
    t.same([...new Set(protectedPaths.map(({ scheme }) => scheme))].toSorted(), Object.keys(refusals).toSorted())
    for (const { path, method, scheme } of protectedPaths) {
      const [valid, refusal, status] = refusals[scheme]
      for (const second of [valid, 'Bearer x', '']) {
        const headers = { Authorization: [valid, second] }
        const url = path.replace(/\{\w+\}/g, '1')
        const { statusCode } = await app.inject({ method: method.toUpperCase() as 'GET', url, headers })
        t.equal(statusCode, status, `${method} ${path}`)
        if (scheme !== 'metricsToken') t.match(log.at(-1), { refusal }, `${method} ${path}`)
      }
    }
    const login = { username: 'vitor', password: aPassword }
    const twice = { Authorization: ['Bearer x', 'Bearer y'] }
    const answer = await app.inject({ method: 'POST', url: '/api/token/', payload: login, headers: twice })
    t.equal(answer.statusCode, 200)
  }
)

t.test('too many logins at once are refused at once', async (t) => {
  const { addUser, post } = await openApp(t, { HASH_QUEUE: '1', ARGON2_TIME: '8' })
  await addUser('vitor', aPassword)
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => post('/api/token/', { username: 'vitor', password: aPassword }))
  )
  const statuses = answers.map(({ statusCode }) => statusCode)
  t.same([...new Set(statuses)].toSorted(), [200, 503])
  const refused = answers.find(({ statusCode }) => statusCode === 503)
  t.match(refused, { body: '{"detail":"Service temporarily unavailable."}', headers: { 'retry-after': /^[1-5]$/ } })
})

t.test('each 503 and 429 has a Retry-After, whatever refuses', async (t) => {
  const { app, post } = await openApp(t)
  for (const [code, { status }] of Object.entries(errorTable)) {
    const refused = t.intercept(app.stores.users, 'findByUsername', {
      value: async () => {
        throw new KeyturnError(code as ErrorCode)
      }
    })
    const { headers, statusCode } = await post('/api/token/', { username: 'vitor', password: aPassword })
    t.equal(statusCode, status, code)
    const isWorthRetrying = status === 503 || status === 429
    t.match({ retryAfter: headers['retry-after'] }, { retryAfter: isWorthRetrying ? /^[1-5]$/ : undefined }, code)
    refused.restore()
  }
  t.intercept(app.stores, 'check', { value: async () => ({ database: 'down', sessions: 'up' }) })
  const ready = await app.inject('/health/ready')
  t.equal(ready.statusCode, 503)
  t.match(ready.headers['retry-after'], /^[1-5]$/)
})

t.test('a defect is a 500 that tells nothing, and its stack is in the log', async (t) => {
  const { app, log, post } = await openApp(t)
  t.intercept(app.stores.users, 'findByUsername', {
    value: async () => {
      throw new TypeError('undefined is not a user')
    }
  })
  const answer = await post('/api/token/', { username: 'vitor', password: aPassword })
  t.equal(answer.statusCode, 500)
  t.equal(answer.body, '{"detail":"A server error occurred."}')
  t.equal(answer.headers['retry-after'], undefined)
  t.match(log.at(-2), {
    level: 50,
    code: 'SERVER_ERROR',
    err: { type: 'TypeError', stack: /undefined is not a user\n.*at / }
  })
  t.match(log.at(-1), { level: 30, status: 500, refusal: 'SERVER_ERROR', msg: 'request' })
})

t.test('health, under all its names', async (t) => {
  const { app, log } = await openApp(t)
  const before = log.length
  for (const url of ['/health/live', '/livez', '/health/live/']) {
    t.match(await app.inject(url), { statusCode: 200, body: '{"status":"up","checks":{}}' })
  }
  for (const url of ['/health/ready', '/readyz', '/healthz']) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200)
    t.match(answer.json(), { status: 'up', checks: { database: 'up', sessions: 'up' } })
    t.equal((await app.inject({ method: 'HEAD', url })).statusCode, 200)
  }
  t.equal(log.length, before, 'a probe leaves no line')
  t.match(await app.inject({ method: 'POST', url: '/health/live' }), {
    statusCode: 405,
    headers: { allow: 'GET, HEAD, OPTIONS' }
  })

  t.intercept(app.stores.sessions, 'ping', { value: () => Promise.reject(new Error('gone')) })
  for (const url of ['/health/ready', '/readyz', '/healthz']) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 503)
    t.match(answer.json(), { status: 'down', checks: { database: 'up', sessions: 'down' } })
  }
  t.equal((await app.inject('/health/live')).statusCode, 200, 'alive all the same')
})

t.test('the log names users, sessions and verdicts, and no secret', async (t) => {
  const secret = 'the secret that signs everything in this test'
  const service = await openApp(t, {
    SIGNING_KEY: secret,
    COOKIE_MODE: 'on',
    RATE_LIMIT_VERIFY: '3/h',
    REFRESH_LATE_RETRY: '0'
  })
  const { addUser, app, clock, log, post } = service
  const user = await addUser('vitor', aPassword)
  const page = { host: 'id.example.com', origin: 'http://id.example.com' }
  const tokens: string[] = []
  const cookieOf = (answer: LightMyRequestResponse): string => {
    const cookie = /^__Host-refresh=([^;]+)/.exec(String(answer.headers['set-cookie']))?.[1] ?? ''
    tokens.push(cookie, ...(answer.statusCode === 200 ? [answer.json().access] : []))
    return `__Host-refresh=${cookie}`
  }
  const first = cookieOf(await post('/api/token/', { username: 'vitor', password: aPassword }, page))
  await post('/api/token/', { username: 'vitor', password: 'mistyped horse' })
  await post('/api/token/', { username: 'unknown', password: 'guessed horse', extra: 'unasked horse' })
  await post('/api/token/', `{"username":"vitor","password":"unreadable horse`, { 'content-type': 'application/json' })
  await post('/api/token/', 'password=plain horse', { 'content-type': 'text/plain' })
  await post('/api/token/?password=queried+horse', {})
  const second = cookieOf(
    await post('/api/token/refresh/', {}, { ...page, cookie: first, authorization: 'Bearer borne-horse' })
  )
  await post('/api/token/refresh/', {}, { ...page, cookie: first })
  await post('/api/token/refresh/', {}, { origin: 'https://evil.example', cookie: second })
  await post('/api/token/refresh/', { refresh: 'forged.horse.token' })
  for (const token of tokens) await post(verify, { token })
  clock.advance(11)
  await post('/api/token/refresh/', {}, { ...page, cookie: first })
  const again = cookieOf(await post('/api/token/', { username: 'vitor', password: aPassword }, page))
  await post('/api/token/blacklist/', {}, { ...page, cookie: again })
  t.intercept(app.stores.users, 'findByUsername', { value: () => Promise.reject(new Error('a defect')) })
  await post('/api/token/', { username: 'vitor', password: aPassword })

  const text = JSON.stringify(log)
  t.equal(tokens.filter((token) => token !== '').length, 6)
  for (const token of tokens.filter((token) => token !== '')) {
    for (const part of [token, ...token.split('.').slice(1)]) t.notMatch(text, part, 'no token, nor a part of one')
  }
  for (const other of [aPassword, 'horse', secret, '__Host-refresh', 'Bearer', user.passwordHash, 'argon2id']) {
    t.notOk(text.includes(other), `no ${other}`)
  }
  const reported = log
    .filter(({ msg }) => msg === 'request')
    .map(({ route, status, verdict, refusal }) => {
      return [String(route).replace('/api/token', '') || '/', status, ...[verdict ?? refusal ?? []].flat()].join(' ')
    })
  t.same(reported, [
    '/ 200',
    '/ 401 LOGIN_FAILED',
    '/ 401 LOGIN_FAILED',
    '/ 400 BODY_UNREADABLE',
    '/ 415 MEDIA_TYPE',
    '/ 400 FIELDS_INVALID',
    '/refresh 200 rotated',
    '/refresh 200 retried',
    '/refresh 403 CROSS_SITE',
    '/refresh 401 TOKEN_INVALID',
    '/verify 200',
    '/verify 200',
    '/verify 200',
    '/verify 429 RATE_LIMITED',
    '/refresh 401 reused',
    '/ 200',
    '/blacklist 200',
    '/ 500 SERVER_ERROR'
  ])
  for (const line of log.filter(({ verdict, status }) => verdict !== undefined || status === 200)) {
    t.match(line, {
      user_id: user.id,
      sid: /^[0-9a-f]{32}$/,
      reqId: String,
      ip: '127.0.0.1',
      ms: Number,
      method: 'POST'
    })
  }
})

t.test('a request whose client has disconnected is logged like any other', async (t) => {
  const { app, logIn, log } = await openApp(t)
  const { refresh, userId } = await logIn()
  const gone = new Promise<void>((resolve) => {
    app.server.once('connection', (socket) => socket.once('close', () => resolve()))
  })
  const { revoke } = app.stores.sessions
  t.intercept(app.stores.sessions, 'revoke', {
    value: async (...which: Parameters<typeof revoke>) => {
      client.destroy()
      await gone
      return await revoke(...which)
    }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const body = JSON.stringify({ refresh })
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  client.write(
    `POST /api/token/blacklist/ HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  )
  const trail = async () =>
    await app.stores.database.query("SELECT event, result, user_id, ip FROM keyturn_audit WHERE event = 'logout'")
  await until(async () => (await trail()).length > 0)
  const wanted = { event: 'logout', ip: '127.0.0.1', user_id: userId }
  t.match(log.at(-1), { ...wanted, status: 200 })
  t.same(await trail(), [{ ...wanted, result: 'ok' }])
  t.match(
    await (await app.metrics()).getSingleMetricAsString('keyturn_logouts_total'),
    'keyturn_logouts_total{result="ok"} 1'
  )
})

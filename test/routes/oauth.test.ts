/* The OAuth endpoints: introspection, revocation, and the clients' own tokens. */
import { setTimeout as delay } from 'node:timers/promises'
import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { hashSecret } from '../../src/clients/client.ts'
import { KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { addClient, basic, postForm, type TestClient } from '../support/client.ts'
import { decodePart, signShared } from '../support/forger.ts'
import { aModule } from '../support/modules.ts'

const claimsOf = (token: string): Record<string, unknown> => decodePart(token, 1)
const introspectPath = '/oauth/introspect'
const inactive = '{"active":false}'

/** The introspection of a token, repeated until the worker knows a revocation. */
async function toldOnceHeard(client: TestClient, token: string): Promise<string> {
  let body = ''
  await until(async () => {
    body = (await client.post(introspectPath, { token })).body
    return body === inactive
  })
  return body
}

/** A refusal as RFC 6749 §5.2 has it. */
function refused(t: Test, answer: LightMyRequestResponse, status: number, error: string, name: string = error): void {
  t.equal(answer.statusCode, status, name)
  t.match(answer.headers, { 'cache-control': 'no-store', pragma: 'no-cache', 'content-type': 'application/json' }, name)
  t.equal(answer.headers['www-authenticate'], status === 401 ? 'Basic realm="api"' : undefined, name)
  const { error: reported, error_description, ...more } = answer.json()
  t.equal(reported, error, name)
  t.match(error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, name)
  t.same(more, {}, name)
}

t.test('introspection of an access token', async (t) => {
  const service = await openApp(t, { ISSUER: 'https://auth.example', AUDIENCE: 'shop' })
  const gateway = await addClient(service)
  const { access, userId } = await service.logIn('vitor')
  const answer = await gateway.post(introspectPath, { token: access, token_type_hint: 'refresh_token' })
  t.equal(answer.statusCode, 200)
  t.match(answer.headers, { 'cache-control': 'no-store', 'content-type': 'application/json' })
  const { exp, iat, jti, sid } = claimsOf(access)
  t.same(answer.json(), {
    active: true,
    token_type: 'Bearer',
    token_use: 'access',
    exp,
    iat,
    jti,
    user_id: userId,
    sid,
    sub: userId,
    username: 'vitor',
    aud: 'shop',
    iss: 'https://auth.example'
  })
  t.match(answer.body, /^{"active":true,/)
  t.match(service.log.at(-1), { event: 'introspect', client_id: 'gateway', user_id: userId, sid, verdict: 'active' })

  service.clock.advance(300)
  t.equal((await gateway.post(introspectPath, { token: access })).body, inactive, 'it has expired')
  t.match(service.log.at(-1), { event: 'introspect', client_id: 'gateway', verdict: 'inactive' })
})

t.test('introspection tells what claims of a user’s own say, but none of them says it is active', async (t) => {
  const service = await openApp(t)
  const gateway = await addClient(service)
  const { id } = await service.addUser('vitor', aPassword)
  const own = { scope: 'orders.read', roles: ['a'], active: false, username: 'eve', token_use: 'refresh' }
  await service.app.stores.users.setClaims(id, own)
  const { access } = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  const reported = (await gateway.post(introspectPath, { token: access })).json()
  t.match(reported, {
    active: true,
    scope: 'orders.read',
    roles: ['a'],
    username: 'vitor',
    token_use: 'access',
    sub: id
  })
})

t.test('introspection of a refresh token asks for its session', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const gateway = await addClient(service)
  const { refresh, userId } = await service.logIn('vitor')
  const reported = (await gateway.post(introspectPath, { token: refresh })).json()
  t.match(reported, { active: true, token_use: 'refresh', sub: userId, gen: 0, sid: /^[0-9a-f]{32}$/ })
  t.notOk('token_type' in reported, 'it is not used as Bearer')
  const next = (await service.post('/api/token/refresh/', { refresh })).json()
  t.match((await gateway.post(introspectPath, { token: refresh })).json(), { active: true, gen: 0 }, 'within the grace')
  service.clock.advance(11)
  t.equal((await gateway.post(introspectPath, { token: refresh })).body, inactive, 'superseded')
  t.match((await gateway.post(introspectPath, { token: next.refresh })).json(), { active: true, gen: 1 })
  await service.post('/api/token/blacklist/', { refresh: next.refresh })
  t.equal((await gateway.post(introspectPath, { token: next.refresh })).body, inactive, 'its session is over')
  t.equal(await toldOnceHeard(gateway, next.access), inactive, 'and so is the access token')
})

t.test('{"active":false} and nothing else, whatever is wrong', async (t) => {
  const secret = 'a secret that other services hold as well'
  const service = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'off' })
  const gateway = await addClient(service)
  const { access, userId } = await service.logIn('vitor')
  const now = service.clock()
  const sign = (claims: object) => signShared(secret, { exp: now + 60, jti: 'x', ...claims })
  const rows: readonly (readonly [name: string, token: string])[] = [
    ['a word', 'x'],
    ['an 8 kB word', 'x'.repeat(8192)],
    ['no ASCII', 'tökén'],
    ['a forged signature', `${access.slice(0, -8)}AAAAAAAA`],
    ['no type', sign({ user_id: userId })],
    ['an unknown type', sign({ token_type: 'id', user_id: userId })],
    ['a refresh token of somebody else, which is not adopted', sign({ token_type: 'refresh', user_id: userId })],
    ['a refresh token that claims to be ours', sign({ token_type: 'refresh', user_id: userId, sid: 'x', gen: 0 })],
    ['no user and no client', sign({ token_type: 'access' })],
    ['an unknown user', sign({ token_type: 'access', user_id: 'unknown' })],
    ['an unknown client', sign({ token_type: 'access', sub: 'unknown', client_id: 'unknown' })]
  ]
  for (const [name, token] of rows) {
    const answer = await gateway.post(introspectPath, { token })
    t.equal(answer.statusCode, 200, name)
    t.equal(answer.body, inactive, name)
    t.equal(answer.headers['cache-control'], 'no-store', name)
  }
  t.match((await gateway.post(introspectPath, { token: sign({ token_type: 'access', user_id: userId }) })).json(), {
    active: true,
    sub: userId
  })

  t.match((await gateway.post(introspectPath, { token: access })).json(), { active: true })
  await service.app.stores.users.setActive(userId, false)
  service.clock.advance(5)
  t.equal((await gateway.post(introspectPath, { token: access })).body, inactive, 'an inactive user, seconds later')
})

t.test('what cannot be known is 503, and no false answer', async (t) => {
  const service = await openApp(t)
  const gateway = await addClient(service)
  const { refresh } = await service.logIn('vitor')
  const down = async () => {
    throw new KeyturnError('STORE_DOWN', { detail: 'gone', retryAfter: 7 })
  }
  for (const [method, path, parameters] of [
    ['find', introspectPath, { token: refresh }],
    ['revoke', '/oauth/revoke', { token: refresh }],
    ['rotate', '/oauth/token', { grant_type: 'refresh_token', refresh_token: refresh }]
  ] as const) {
    const intercepted = t.intercept(service.app.stores.sessions, method, { value: down })
    const answer = await gateway.post(path, parameters)
    refused(t, answer, 503, 'temporarily_unavailable', path)
    t.match(answer.headers['retry-after'], /^([7-9]|1[01])$/)
    intercepted.restore()
  }
})

t.test('revocation of a refresh token ends its session', async (t) => {
  const service = await openApp(t)
  const gateway = await addClient(service)
  const { refresh, access, userId } = await service.logIn('vitor')
  const next = (await service.post('/api/token/refresh/', { refresh })).json()
  const answer = await gateway.post('/oauth/revoke', { token: refresh, token_type_hint: 'access_token' })
  t.equal(answer.statusCode, 200, 'superseded ones do as well, and a wrong hint does no harm')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.match(service.log.at(-1), { event: 'revoke', client_id: 'gateway', user_id: userId })
  t.equal((await service.post('/api/token/refresh/', { refresh: next.refresh })).statusCode, 401)
  t.equal(await toldOnceHeard(gateway, access), inactive)
  t.equal((await gateway.post('/oauth/revoke', { token: refresh })).statusCode, 200, 'again')
  t.match(service.log.at(-1), { event: 'revoke', verdict: 'ended' })
  const trail = await service.app.stores.database.query(
    "SELECT event, result, user_id FROM keyturn_audit WHERE event = 'revoke'"
  )
  t.same(trail, [
    { event: 'revoke', result: 'ok', user_id: userId },
    { event: 'revoke', result: 'ended', user_id: userId }
  ])
})

t.test('revocation of an access token is of that one alone', async (t) => {
  const service = await openApp(t)
  const gateway = await addClient(service)
  const { refresh, access } = await service.logIn('vitor')
  const other = (await service.post('/api/token/refresh/', { refresh })).json()
  t.equal((await gateway.post('/oauth/revoke', { token: access })).statusCode, 200)
  t.equal(await toldOnceHeard(gateway, access), inactive)
  t.equal((await service.post('/api/token/verify/', { token: access })).statusCode, 401)
  t.equal((await service.post('/api/token/verify/', { token: other.access })).statusCode, 200, 'another of the session')
  t.equal(
    (await service.post('/api/token/refresh/', { refresh: other.refresh })).statusCode,
    200,
    'the session goes on'
  )
  const headers = { authorization: `Bearer ${access}` }
  t.equal((await service.app.inject({ url: '/api/sessions/', headers })).statusCode, 401)
})

t.test('revocation of an invalid token is 200 too', async (t) => {
  const secret = 'a secret that other services hold as well'
  const service = await openApp(t, { SIGNING_KEY: secret })
  const gateway = await addClient(service)
  const { access } = await service.logIn('vitor')
  const now = service.clock()
  const sign = (claims: object) => signShared(secret, { token_type: 'access', user_id: '1', ...claims })
  const jti = '0123456789abcdef0123456789abcdef'
  const nothing = ['x', `${access.slice(0, -8)}AAAAAAAA`, sign({ exp: now, jti }), sign({ exp: now + 60 })]
  for (const token of nothing) t.equal((await gateway.post('/oauth/revoke', { token })).statusCode, 200)
  refused(
    t,
    await gateway.post('/oauth/revoke', { token: '' }),
    400,
    'invalid_request',
    'an empty parameter counts as absent'
  )

  // The feed remembers a revocation for 300 + 60 seconds.
  const longest = sign({ exp: now + 360, jti })
  t.equal((await gateway.post('/oauth/revoke', { token: longest })).statusCode, 200)
  t.equal(await toldOnceHeard(gateway, longest), inactive)
  for (const token of [sign({ exp: now + 361, jti }), sign({ exp: now + 60, jti: 'of another form' })])
    refused(
      t,
      await gateway.post('/oauth/revoke', { token }),
      400,
      'unsupported_token_type',
      'it would come back to life'
    )
})

t.test('a client’s own token', async (t) => {
  const service = await openApp(t, { ISSUER: 'https://auth.example', AUDIENCE: 'shop' })
  const billing = await addClient(service, 'billing', ['orders.read', 'orders.write'])
  const gateway = await addClient(service)
  const grant = (parameters: Record<string, string> = {}, client = billing) =>
    client.post('/oauth/token', { grant_type: 'client_credentials', ...parameters })

  const all = await grant()
  t.equal(all.statusCode, 200)
  t.match(all.headers, { 'cache-control': 'no-store', pragma: 'no-cache' })
  const { access_token: token, ...rest } = all.json()
  t.same(rest, { token_type: 'Bearer', expires_in: 300, scope: 'orders.read orders.write' })
  const now = service.clock()
  t.match(claimsOf(token), { jti: /^[0-9a-f]{32}$/ })
  t.same(
    { ...claimsOf(token), jti: '' },
    {
      token_type: 'access',
      exp: now + 300,
      iat: now + 1,
      jti: '',
      sub: 'billing',
      client_id: 'billing',
      scope: 'orders.read orders.write',
      aud: 'shop',
      iss: 'https://auth.example'
    },
    'no user, no session; not before the second after the creation of the client'
  )
  t.match(service.log.at(-1), { event: 'client_token', client_id: 'billing', status: 200 })

  t.match((await grant({ scope: 'orders.read' })).json(), { scope: 'orders.read' })
  t.match(
    (await grant({ scope: '' })).json(),
    { scope: 'orders.read orders.write' },
    'an empty parameter counts as absent'
  )
  for (const scope of ['orders.delete', 'orders.read admin', 'orders.read "', '\u00e4'])
    refused(t, await grant({ scope }), 400, 'invalid_scope', scope)
  t.notOk('scope' in (await grant({}, gateway)).json(), 'a client without scopes gets a token without')
  refused(t, await grant({ scope: 'orders.read' }, gateway), 400, 'invalid_scope', 'it may have none')

  t.match((await gateway.post(introspectPath, { token })).json(), {
    active: true,
    token_type: 'Bearer',
    token_use: 'access',
    sub: 'billing',
    client_id: 'billing',
    scope: 'orders.read orders.write'
  })
  t.equal((await service.post('/api/token/verify/', { token })).statusCode, 200)
  refused(
    t,
    await gateway.post('/oauth/revoke', { token }),
    400,
    'unauthorized_client',
    'another client may not revoke it'
  )
  t.equal((await billing.post('/oauth/revoke', { token })).statusCode, 200)
  t.equal(await toldOnceHeard(gateway, token), inactive)
})

t.test('a client is not a user, and what it was given ends with it', async (t) => {
  const service = await openApp(t, { TOKEN_PROFILE: 'rfc9068', ISSUER: 'https://auth.example', AUDIENCE: 'shop' })
  const gateway = await addClient(service)
  const billing = await addClient(service, 'billing', ['orders.read'])
  const { access_token: token } = (await billing.post('/oauth/token', { grant_type: 'client_credentials' })).json()
  const headers = { authorization: `Bearer ${token}` }
  for (const [method, url] of [
    ['GET', '/api/sessions/'],
    ['DELETE', '/api/sessions/'],
    ['DELETE', `/api/sessions/${'0'.repeat(32)}/`],
    ['POST', '/api/password/'],
    ['GET', '/api/token/forward-auth/'],
    ['GET', '/api/token/forward-auth/?scope=orders.read']
  ] as const) {
    const answer = await service.app.inject({ method, url, headers })
    t.equal(answer.statusCode, 401, `${method} ${url}`)
    t.equal(answer.json().detail, 'Token contained no recognizable user identification')
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="api", error="invalid_token"')
  }
  refused(
    t,
    await gateway.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: token }),
    400,
    'invalid_grant'
  )
  await service.app.stores.clients.delete('billing')
  await service.app.clients.update()
  t.equal((await gateway.post(introspectPath, { token })).body, inactive)
  t.equal((await service.post('/api/token/verify/', { token })).statusCode, 401)
  refused(t, await billing.post(introspectPath, { token }), 401, 'invalid_client')

  const { access } = await service.logIn('vitor')
  t.match((await gateway.post(introspectPath, { token: access })).json(), { active: true, username: 'vitor' }, 'a user')
})

t.test('a user’s refresh token at the token endpoint', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const app = await addClient(service, 'app')
  const { refresh, userId } = await service.logIn('vitor')
  const grant = (refresh_token: string, more = {}) =>
    app.post('/oauth/token', { grant_type: 'refresh_token', refresh_token, ...more })
  const answer = await grant(refresh)
  t.equal(answer.statusCode, 200)
  const { access_token, refresh_token, ...rest } = answer.json()
  t.same(rest, { token_type: 'Bearer', expires_in: 300 })
  t.match(claimsOf(access_token), { token_type: 'access', user_id: userId })
  t.match(claimsOf(refresh_token), { gen: 1 })
  t.match(service.log.at(-1), { event: 'refresh', client_id: 'app', user_id: userId, verdict: 'rotated' })
  t.equal((await grant(refresh)).json().refresh_token, refresh_token, 'a retry within the grace')
  refused(t, await grant(refresh_token, { scope: 'x' }), 400, 'invalid_scope')
  refused(t, await grant('x'), 400, 'invalid_grant')
  t.match(service.log.at(-1), { event: 'refresh', refusal: 'TOKEN_INVALID', client_id: 'app' })

  service.clock.advance(11)
  const reused = await grant(refresh)
  refused(t, reused, 400, 'invalid_grant')
  t.equal(reused.json().error_description, 'Token is blacklisted')
  t.match(service.log.at(-1), { event: 'refresh', verdict: 'reused', refusal: 'TOKEN_REUSED' })
  const trail = await service.app.stores.database.query(
    "SELECT result FROM keyturn_audit WHERE event = 'refresh' ORDER BY result"
  )
  t.same(trail, [{ result: 'retried' }, { result: 'reused' }], 'recorded in the audit trail as at /api/token/refresh/')
  const metrics = await (await service.app.metrics()).metrics()
  t.match(metrics, /keyturn_refreshes_total\{result="reused"\} 1/)
  refused(t, await grant(refresh_token), 400, 'invalid_grant', 'the session is over')

  const fixed = await openApp(t, { ROTATE_REFRESH_TOKENS: 'false' })
  const [client, login] = [await addClient(fixed), await fixed.logIn()]
  const kept = await client.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: login.refresh })
  t.same(Object.keys(kept.json()), ['access_token', 'token_type', 'expires_in'], 'without rotation the client keeps it')
})

t.test('requests that are none', async (t) => {
  const service = await openApp(t)
  const { app, post } = service
  const gateway = await addClient(service)
  refused(t, await gateway.post('/oauth/token'), 400, 'invalid_request', 'no grant type')
  refused(t, await gateway.post('/oauth/token', { grant_type: 'refresh_token' }), 400, 'invalid_request', 'no token')
  for (const grant_type of ['password', 'authorization_code', 'x'])
    refused(
      t,
      await gateway.post('/oauth/token', { grant_type, username: 'a' }),
      400,
      'unsupported_grant_type',
      grant_type
    )
  const missing = await gateway.post(introspectPath)
  refused(t, missing, 400, 'invalid_request', 'no token')
  t.equal(missing.json().error_description, 'token: This field is required.')

  const { authorization } = gateway
  const twice = await postForm(service, introspectPath, 'token=a&token=b', { authorization })
  t.equal(twice.statusCode, 400)
  t.equal(twice.json().error, 'invalid_request', 'RFC 6749 §3.2: a parameter is there once')
  const json = await post(introspectPath, { token: 'x' }, { authorization })
  t.equal(json.statusCode, 415)
  t.match(json.json(), { error: 'invalid_request', error_description: /^Unsupported media type 'application\/json'/ })
  const large = await gateway.post(introspectPath, { token: 'x'.repeat(17_000) })
  t.equal(large.statusCode, 413)
  t.equal(large.json().error, 'invalid_request')
  const get = await app.inject(introspectPath)
  t.equal(get.statusCode, 405)
  t.match(get, { headers: { allow: 'POST, OPTIONS' } })
  t.equal(get.json().error, 'invalid_request')
  const chunked = await app.inject({
    method: 'POST',
    url: '/oauth/introspect/',
    headers: { authorization, 'content-type': 'application/x-www-form-urlencoded', 'transfer-encoding': 'chunked' },
    payload: 'token=x'
  })
  t.equal(chunked.body, inactive)
})

t.test('how a client authenticates', async (t) => {
  const service = await openApp(t)
  const { log } = service
  const secret = 'it+is%41 -_secret/with=all'.repeat(2).replaceAll(' ', '')
  await service.app.stores.clients.create('odd', hashSecret({ id: 'odd', secret }), [])
  await service.app.clients.update()
  const raw = `Basic ${Buffer.from(`odd:${secret}`).toString('base64')}`
  const ask = (headers: Record<string, string>, more: Record<string, string> = {}) =>
    postForm(service, introspectPath, { token: 'x', ...more }, headers)
  t.equal((await ask({ authorization: basic('odd', secret) })).body, inactive, 'form-encoded, as libraries do')
  t.equal((await ask({ authorization: raw })).body, inactive, 'as curl -u does')
  t.equal((await ask({ authorization: raw }, { client_id: 'odd' })).body, inactive)
  t.equal((await ask({}, { client_id: 'odd', client_secret: secret })).body, inactive, 'in the body')

  const failures: readonly (readonly [name: string, headers: Record<string, string>, more?: Record<string, string>])[] =
    [
      ['nothing', {}],
      ['no secret', {}, { client_id: 'odd' }],
      ['another secret', { authorization: basic('odd', 'x') }],
      ['another secret in the body', {}, { client_id: 'odd', client_secret: 'x' }],
      ['unknown', { authorization: basic('unknown', secret) }],
      ['a bearer', { authorization: `Bearer ${secret}` }],
      ['no base64', { authorization: 'Basic %' }]
    ]
  for (const [name, headers, more] of failures) refused(t, await ask(headers, more), 401, 'invalid_client', name)
  refused(t, await ask({ authorization: raw }, { client_secret: secret }), 400, 'invalid_request', 'two ways at once')

  await ask({ authorization: basic(secret, 'odd') })
  t.notMatch(JSON.stringify(log), /with=all/, 'a secret in the wrong place is not logged')
  t.match(log.at(-1), { refusal: 'CLIENT_INVALID', detail: 'no such client' })
  await ask({ authorization: basic('odd', 'x') })
  t.match(log.at(-1), { refusal: 'CLIENT_INVALID', detail: 'the secret is not that of odd' })
})

t.test('failed authentications are throttled, for the client and the address that fail', async (t) => {
  const service = await openApp(t)
  const [gateway, billing] = [await addClient(service), await addClient(service, 'billing')]
  const ask = (authorization: string, remoteAddress = '192.0.2.1') =>
    service.app.inject({
      method: 'POST',
      url: introspectPath,
      headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
      payload: 'token=x',
      remoteAddress
    })
  for (let each = 0; each < 10; each++) t.equal((await ask(basic('gateway', 'guess'))).statusCode, 401)
  for (const authorization of [basic('gateway', 'guess'), gateway.authorization]) {
    const answer = await ask(authorization)
    refused(t, answer, 429, 'temporarily_unavailable', 'not even looked at')
    const seconds = Number(answer.headers['retry-after'])
    t.ok(seconds > 30 && seconds <= 64, `${seconds}`)
  }
  t.equal((await ask(gateway.authorization, '192.0.2.2')).statusCode, 200, 'the same client elsewhere')
  t.equal((await ask(billing.authorization)).statusCode, 200, 'another client there')
  for (let each = 0; each < 10; each++) await ask(basic('unknown', 'guess'), '2001:db8:1:2::1')
  t.equal((await ask(basic('unknown', 'guess'), '2001:db8:1:2::2')).statusCode, 429, 'an IPv6 address is its /64')
  for (let each = 0; each < 20; each++) t.equal((await ask(billing.authorization)).statusCode, 200, 'success is free')
})

t.test('RATE_LIMIT_INTROSPECT', async (t) => {
  const service = await openApp(t, { RATE_LIMIT_INTROSPECT: '2/m' })
  const gateway = await addClient(service)
  const statuses = []
  for (let each = 0; each < 3; each++) statuses.push((await gateway.post(introspectPath, { token: 'x' })).statusCode)
  t.same(statuses, [200, 200, 429])
  t.equal((await gateway.post('/oauth/revoke', { token: 'x' })).statusCode, 200)
})

t.test('a change of the clients is known within seconds, by the clock on the wall', async (t) => {
  const service = await openApp(t)
  const { app } = service
  const isKnown = async (wanted: boolean): Promise<boolean> => {
    for (let tries = 0; tries < 400; tries++) {
      if ((app.clients.find('late') !== undefined) === wanted) return true
      await delay(50)
    }
    return false
  }
  await app.stores.clients.create('late', hashSecret({ id: 'late', secret: 'x'.repeat(32) }), [])
  t.ok(await isKnown(true), 'created')
  await app.stores.clients.delete('late')
  t.ok(await isKnown(false), 'deleted')
})

t.test('while the clients cannot be read, known ones are accepted for a while, with one log line', async (t) => {
  const service: TestApp = await openApp(t)
  const gateway = await addClient(service)
  let asked = 0
  const gone = () => Promise.reject(new Error(`gone, ${++asked}`))
  const list = t.intercept(service.app.stores.clients, 'list', { value: gone })
  for (let tries = 0; tries < 400 && asked < 3; tries++) await delay(50)
  t.equal(asked, 3)
  t.equal(service.log.filter(({ msg }) => /clients could not be read/.test(String(msg))).length, 1)
  t.equal((await gateway.post(introspectPath, { token: 'x' })).statusCode, 200)
  list.restore()
})

t.test('a sliding token: asked about as Bearer, and revoked with its session', async (t) => {
  const service = await openApp(t, { SLIDING_TOKENS: 'true', SLIDING_TOKEN_LIFETIME: '12h' })
  const gateway = await addClient(service)
  const { id } = await service.addUser('vitor', aPassword)
  const { token } = (await service.post('/api/token/sliding/', { username: 'vitor', password: aPassword })).json()
  const later = (await service.post('/api/token/sliding/refresh/', { token })).json().token
  t.match((await gateway.post(introspectPath, { token })).json(), {
    active: true,
    token_type: 'Bearer',
    token_use: 'sliding',
    sub: id,
    username: 'vitor',
    refresh_exp: claimsOf(token).refresh_exp
  })
  refused(
    t,
    await gateway.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: token }),
    400,
    'invalid_grant',
    'it has an endpoint of its own'
  )
  t.equal((await gateway.post('/oauth/revoke', { token })).statusCode, 200)
  t.match(service.log.at(-1), { event: 'revoke', user_id: id, sid: claimsOf(token).sid })
  // Beyond what a worker remembers of revocations: the store is asked.
  for (const hours of [0, 11]) {
    service.clock.advance(hours * 3600)
    t.equal((await gateway.post(introspectPath, { token: later })).body, inactive)
    const headers = { authorization: `Bearer ${later}` }
    t.equal((await service.app.inject({ url: '/api/sessions/', headers })).statusCode, 401)
  }
})

t.test('a sliding token of another issuer', async (t) => {
  const secret = 'a secret that other services hold as well'
  const [service, off] = [
    await openApp(t, { SIGNING_KEY: secret, SLIDING_TOKENS: 'true' }),
    await openApp(t, { SIGNING_KEY: secret })
  ]
  const gateway = await addClient(service)
  const { userId } = await service.logIn()
  const jti = '0123456789abcdef0123456789abcdef'
  const sign = (userId: string) =>
    signShared(secret, { token_type: 'sliding', exp: service.clock() + 60, jti, user_id: userId })
  const token = sign(userId)
  t.match((await gateway.post(introspectPath, { token })).json(), { active: true, token_use: 'sliding', sub: userId })
  const headers = { authorization: `Bearer ${token}` }
  t.equal((await service.app.inject({ url: '/api/sessions/', headers })).statusCode, 200)
  t.equal((await gateway.post('/oauth/revoke', { token })).statusCode, 200)
  t.equal(await toldOnceHeard(gateway, token), inactive)
  t.equal((await service.app.inject({ url: '/api/sessions/', headers })).statusCode, 401, 'it has no session: its jti')

  const unused = sign((await off.logIn()).userId)
  t.equal((await off.post('/api/token/verify/', { token: unused })).statusCode, 200)
  t.equal(
    (await (await addClient(off)).post(introspectPath, { token: unused })).body,
    inactive,
    'good for nothing here'
  )
})

t.test('a refresh token of another issuer, before and after it is adopted', async (t) => {
  const secret = 'a secret that other services hold as well'
  const service = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on' })
  const gateway = await addClient(service)
  const { id } = await service.addUser('vitor', aPassword)
  const now = service.clock()
  const foreign = (jti: string) =>
    signShared(secret, { token_type: 'refresh', exp: now + 86_400, iat: now, jti, user_id: id })
  const reported = async (token: string) => (await gateway.post(introspectPath, { token })).json()
  const revoke = async (token: string) => (await gateway.post('/oauth/revoke', { token })).statusCode
  const status = async (refresh: string) => (await service.post('/api/token/refresh/', { refresh })).statusCode

  const unused = foreign('a')
  t.match(await reported(unused), { active: true, token_use: 'refresh', sub: id, jti: 'a', username: 'vitor' })
  t.match(await reported(unused), { active: true }, 'asking does not adopt it')
  t.equal(await revoke(unused), 200)
  t.match(service.log.at(-1), { event: 'revoke', user_id: id, sid: /^[0-9a-f]{32}$/ })
  t.same(await reported(unused), { active: false })
  t.equal(await status(unused), 401, 'and it cannot be adopted any more')
  t.equal(await revoke(unused), 200, 'again')
  t.match(service.log.at(-1), { verdict: 'ended' })

  const used = foreign('b')
  const grant = { grant_type: 'refresh_token', refresh_token: used }
  const { access_token, refresh_token } = (await gateway.post('/oauth/token', grant)).json()
  t.match(claimsOf(refresh_token), { gen: 1 }, 'the token endpoint adopts it')
  t.match(await reported(used), { active: true }, 'within the grace')
  t.match(await reported(refresh_token), { active: true })
  t.equal(await revoke(used), 200, 'by a service that lost the answer')
  t.same(await reported(refresh_token), { active: false })
  t.equal(await toldOnceHeard(gateway, access_token), inactive)

  const listed = foreign('c')
  t.intercept(service.app.stores.foreignBlacklist, 'has', { value: async (jti: string) => jti === 'c' })
  t.same(await reported(listed), { active: false }, 'on the blacklist of its issuer')
  t.equal(await revoke(listed), 200)
  t.match(service.log.at(-1), { verdict: 'ended' })
})

t.test('introspection with CHECK_REVOKE_TOKEN asks for the password a token was made under', async (t) => {
  const secret = 'a secret that other services hold as well'
  const service = await openApp(t, { CHECK_REVOKE_TOKEN: 'true', SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on' })
  const gateway = await addClient(service)
  const { access, refresh, userId } = await service.logIn()
  const reported = async (token: string) => (await gateway.post(introspectPath, { token })).body
  for (const token of [access, refresh]) t.match(await reported(token), /^{"active":true,/)
  await service.app.stores.users.setPassword(userId, await service.app.hasher.hash('another horse'))
  service.clock.advance(5)
  for (const token of [access, refresh]) t.equal(await reported(token), inactive)
  const refreshed = await service.post('/api/token/refresh/', { refresh })
  t.match(refreshed.json(), { detail: "The user's password has been changed." }, 'asking has ended no session')
  const again = await service.post('/api/token/refresh/', { refresh })
  t.match(again.json(), { detail: 'Token is blacklisted' }, 'the refresh has')

  const now = service.clock()
  const foreign = { exp: now + 60, iat: now, jti: 'x', user_id: userId }
  t.equal(
    await reported(signShared(secret, { token_type: 'refresh', ...foreign })),
    inactive,
    'a token of Simple JWT without the claim would not be refreshed'
  )
  t.equal(await reported(signShared(secret, { token_type: 'access', ...foreign })), inactive, 'it would not be let in')
})

t.test('introspection goes by CHECK_USER_IS_ACTIVE, and for a refresh token by the rule of HOOKS_MODULE', async (t) => {
  const lax = await openApp(t, { CHECK_USER_IS_ACTIVE: 'false' })
  const gateway = await addClient(lax)
  const inactiveUser = await lax.logIn()
  await lax.app.stores.users.setActive(inactiveUser.userId, false)
  for (const token of [inactiveUser.access, inactiveUser.refresh])
    t.match((await gateway.post(introspectPath, { token })).json(), { active: true }, 'as at every endpoint')

  const rule = `export const userAuthenticationRule = ({ claims }) => {
    if (claims.broken) throw new Error('broken')
    return !claims.suspended
  }`
  const service = await openApp(t, { HOOKS_MODULE: aModule(t, rule) })
  const asking = await addClient(service)
  const { access, refresh, userId } = await service.logIn()
  const reported = async (token: string) => (await asking.post(introspectPath, { token })).json()
  t.match(await reported(refresh), { active: true })
  await service.app.stores.users.setClaims(userId, { suspended: true })
  t.same(await reported(refresh), { active: false }, 'it would not be refreshed')
  t.match(await reported(access), { active: true }, 'protected endpoints do not call the rule')
  await service.app.stores.users.setClaims(userId, { broken: true })
  refused(t, await asking.post(introspectPath, { token: refresh }), 500, 'server_error', 'the state is unknown')
})

t.test('RFC 7662 has its names, whatever claims are called', async (t) => {
  const names = { USER_ID_CLAIM: 'sub', JTI_CLAIM: 'tid', TOKEN_TYPE_CLAIM: 'kind' }
  const service = await openApp(t, { ...names, ISSUER: 'https://auth.example' })
  const billing = await addClient(service, 'billing')
  const { access, userId } = await service.logIn('vitor')
  const { exp, iat, tid, sid } = claimsOf(access)
  const common = {
    active: true,
    token_type: 'Bearer',
    token_use: 'access',
    kind: 'access',
    iss: 'https://auth.example'
  }
  t.same((await billing.post(introspectPath, { token: access })).json(), {
    ...common,
    exp,
    iat,
    tid,
    jti: tid,
    sub: userId,
    sid,
    username: 'vitor'
  })

  const { access_token: token } = (await billing.post('/oauth/token', { grant_type: 'client_credentials' })).json()
  const own = claimsOf(token)
  t.same(Object.keys(own), ['kind', 'exp', 'iat', 'tid', 'sub', 'client_id', 'iss'])
  t.same((await billing.post(introspectPath, { token })).json(), { ...common, ...own, jti: own.tid })
  await service.app.stores.users.create('billing', 'x')
  for (const url of ['/api/sessions/', '/api/token/forward-auth/']) {
    const answer = await service.app.inject({ url, headers: { authorization: `Bearer ${token}` } })
    t.match(answer.json(), { detail: 'Token contained no recognizable user identification' }, 'a client is not a user')
  }
  t.equal((await billing.post('/oauth/revoke', { token })).statusCode, 200)
  t.equal(await toldOnceHeard(billing, token), inactive)
  const metadata = (await service.app.inject('/.well-known/oauth-authorization-server')).json()
  t.same(metadata.claims_supported, ['iss', 'sub', 'aud', 'exp', 'iat', 'tid', 'sid', 'kind', 'client_id', 'scope'])
})

t.test('a client that has the name of a user, where tokens carry names', async (t) => {
  const service = await openApp(t, { USER_ID_CLAIM: 'sub', USER_ID_FIELD: 'username' })
  const client = await addClient(service, 'vitor')
  await service.addUser('vitor', aPassword)
  const { access } = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  const { access_token } = (await client.post('/oauth/token', { grant_type: 'client_credentials' })).json()
  t.equal(claimsOf(access).sub, claimsOf(access_token).sub)
  const status = async (token: string) =>
    (await service.app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${token}` } })).statusCode
  t.same([await status(access), await status(access_token)], [200, 401])
})

t.test('what TOKEN_TYPE_CLAIM and JTI_CLAIM do not demand of others', async (t) => {
  const secret = 'a secret that other services hold as well'
  const service = await openApp(t, { SIGNING_KEY: secret, TOKEN_TYPE_CLAIM: 'none', JTI_CLAIM: 'none' })
  const gateway = await addClient(service)
  const { userId } = await service.logIn()
  const claims = { exp: service.clock() + 60, user_id: userId }
  const token = signShared(secret, claims)
  t.same((await gateway.post(introspectPath, { token })).json(), {
    active: true,
    ...claims,
    token_type: 'Bearer',
    token_use: 'access',
    sub: userId,
    username: 'vitor'
  })
  refused(t, await gateway.post('/oauth/revoke', { token }), 400, 'unsupported_token_type', 'it has no id')
  t.equal((await gateway.post(introspectPath, { token: signShared(secret, { ...claims, gen: 0 }) })).body, inactive)
})

t.test('OAuth endpoints answer in English: RFC 6749 §5.2 allows only ASCII', async (t) => {
  const service = await openApp(t)
  const { authorization } = await addClient(service)
  const headers = { authorization, 'accept-language': 'ja' }
  const answer = await postForm(service, introspectPath, {}, headers)
  t.equal(answer.json().error_description, 'token: This field is required.')
  t.notOk('content-language' in answer.headers)
})

t.test(
  'an issuer with a path is described at both places, as RFC 8414 and OpenID Connect Discovery have them',
  async (t) => {
    const issuer = 'https://auth.example/tenant/a:b/'
    const { app } = await openApp(t, { ISSUER: issuer })
    for (const name of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) {
      for (const url of [name, `${name}/tenant/a:b`, `/tenant/a:b${name}`]) {
        const answer = await app.inject(url)
        t.equal(answer.statusCode, 200, url)
        t.match(answer.json(), { issuer, jwks_uri: 'https://auth.example/tenant/a:b/.well-known/jwks.json' })
      }
      t.equal((await app.inject(`${name}/tenant/other`)).statusCode, 404)
    }
    const odd = await openApp(t, { ISSUER: 'https://auth.example/%zz*' })
    t.equal(
      (await odd.app.inject('/.well-known/openid-configuration')).statusCode,
      200,
      'a path that no route can have'
    )
  }
)

t.test('a repeated resource is accepted, as RFC 8707 has it, and no other parameter', async (t) => {
  const service = await openApp(t)
  const { authorization } = await addClient(service, 'billing')
  const grant = (more: string) =>
    postForm(service, '/oauth/token', `grant_type=client_credentials&${more}`, { authorization })
  t.equal((await grant('resource=https://a.example&resource=https://b.example')).statusCode, 200)
  refused(t, await grant('audience=a&audience=b'), 400, 'invalid_request')
})

/*
 * Refresh tokens that Simple JWT issued, shown to a Keyturn that has its SIGNING_KEY: each becomes a session, once.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import t from 'tap'
import { passwordFingerprint } from '../../src/passwords/fingerprint.ts'
import { migrate } from '../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'
import { addClient } from '../support/client.ts'
import { decodePart, signShared } from '../support/forger.ts'
import { aModule } from '../support/modules.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'

interface Pair {
  readonly access: string
  readonly refresh: string
}

const secret = 'a secret that SIGNING_KEY shares with the tests'
const adopting = { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on' }
const blacklisted = { detail: 'Token is blacklisted', code: 'token_not_valid' }
const invalid = { detail: 'Token is invalid', code: 'token_not_valid' }

/** A refresh token as Simple JWT makes it. */
function foreignToken({ clock }: TestApp, userId: string | undefined, changes: object = {}): string {
  const claims = {
    token_type: 'refresh',
    exp: clock() + 86_400,
    iat: clock(),
    jti: randomBytes(16).toString('hex'),
    user_id: userId,
    ...changes
  }
  return signShared(secret, claims)
}

const endpointsOf = ({ post, app }: TestApp) => ({
  refresh: (refresh: string) => post('/api/token/refresh/', { refresh }),
  blacklist: (refresh: string) => post('/api/token/blacklist/', { refresh }),
  verify: (token: string) => post('/api/token/verify/', { token }),
  sessions: async (access: string): Promise<unknown[]> =>
    (await app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${access}` } })).json().sessions,
  endSessions: (access: string) =>
    app.inject({ method: 'DELETE', url: '/api/sessions/', headers: { authorization: `Bearer ${access}` } })
})

t.test('twenty at once: one session, and one successor for all', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, sessions, verify, endSessions } = endpointsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id)
  t.equal((await verify(token)).statusCode, 200, 'good before anybody used it')
  const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(token)))
  t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  t.equal(new Set(answers.map((answer) => answer.json().refresh)).size, 1)
  const { access, refresh: successor } = answers[0]!.json()
  t.equal((await sessions(access)).length, 1)
  t.equal((await verify(token)).statusCode, 200, 'within the grace')
  t.equal((await refresh(successor)).statusCode, 200, 'the line goes on')

  service.clock.advance(11)
  const late = await refresh(token)
  t.same([late.statusCode, late.json()], [401, blacklisted], 'shown again after the grace it is theft')
  let status = 200
  await until(async () => {
    status = (await verify(access)).statusCode
    return status !== 200
  }, 'the worker hears of it')
  t.equal(status, 401)
  t.same((await refresh(token)).json(), blacklisted, 'and starts no second session')
  t.same((await verify(token)).json(), { non_field_errors: ['Token is blacklisted'] })

  const { access: another } = await service.logIn('other')
  t.equal((await endSessions(another)).statusCode, 204)
})

t.test('a logout with it', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, blacklist, verify } = endpointsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id)
  t.same([(await blacklist(token)).statusCode, (await blacklist(token)).json()], [200, blacklisted])
  t.same((await refresh(token)).json(), blacklisted)
  t.equal((await verify(token)).statusCode, 400)
  const used = foreignToken(service, id)
  const { refresh: successor } = (await refresh(used)).json()
  t.equal((await blacklist(used)).statusCode, 200, 'by a client that lost the answer')
  t.same((await refresh(successor)).json(), blacklisted)
})

t.test('an adoption ends the oldest session beyond the limit, and a logout none', async (t) => {
  const service = await openApp(t, { ...adopting, MAX_SESSIONS_PER_USER: '1' })
  const { refresh, blacklist } = endpointsOf(service)
  const { userId, refresh: first } = await service.logIn()
  const second = await refresh(foreignToken(service, userId))
  t.equal(second.statusCode, 200)
  t.same((await refresh(first)).json(), blacklisted)
  t.equal((await blacklist(foreignToken(service, userId))).statusCode, 200)
  t.equal((await refresh(second.json().refresh)).statusCode, 200)
  const client = await addClient(service)
  t.equal((await client.post('/oauth/revoke', { token: foreignToken(service, userId) })).statusCode, 200)
  t.equal((await service.app.stores.sessions.list(userId)).length, 1)
})

t.test('who may not come in by it', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, verify, endSessions } = endpointsOf(service)
  const { userId, access } = await service.logIn('vitor')
  const before = foreignToken(service, userId)
  t.equal((await endSessions(access)).statusCode, 204)
  t.equal((await verify(before)).statusCode, 400)
  t.same((await refresh(before)).json(), blacklisted, 'all sessions were ended since it was issued')
  service.clock.advance(1)
  t.equal((await refresh(foreignToken(service, userId))).statusCode, 200, 'issued after that')
  t.same(
    (await refresh(foreignToken(service, userId, { iat: undefined }))).json(),
    blacklisted,
    'its time of issue is unknown'
  )

  t.same((await refresh(foreignToken(service, undefined))).json(), invalid, 'unknown')
  t.match((await refresh(foreignToken(service, 'unknown'))).json(), { detail: /^No active account/ })
  t.same((await refresh(foreignToken(service, userId, { gen: 0 }))).json(), invalid, 'a generation of its own choice')
  t.same((await refresh(foreignToken(service, userId, { sid: 'f'.repeat(32) }))).json(), invalid, 'a session likewise')
  await service.app.stores.users.setActive(userId, false)
  const token = foreignToken(service, userId)
  t.match((await refresh(token)).json(), { detail: /^No active account/ })
  await service.app.stores.users.setActive(userId, true)
  t.equal((await refresh(token)).statusCode, 200, 'a refusal costs it nothing')
})

t.test('a token that outlives its session is not adopted again', async (t) => {
  const service = await openApp(t, { ...adopting, REFRESH_TOKEN_LIFETIME: '1h', LEEWAY: '30s' })
  const { refresh } = endpointsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id, { exp: service.clock() + 7200 })
  t.equal((await refresh(token)).statusCode, 200)
  service.clock.advance(3601)
  t.same((await refresh(token)).json(), blacklisted)
  service.clock.advance(3600 + 28)
  t.same((await refresh(token)).json(), blacklisted, 'its last second')
  const endless = foreignToken(service, id, { exp: 253_402_300_799 })
  t.equal((await refresh(endless)).statusCode, 200, 'until the last date')
})

t.test('without rotation it stays the refresh token', async (t) => {
  const service = await openApp(t, { ...adopting, ROTATE_REFRESH_TOKENS: 'false' })
  const { refresh, verify } = endpointsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id)
  for (const _ of [1, 2]) {
    t.same(Object.keys((await refresh(token)).json()), ['access'])
    service.clock.advance(60)
  }
  t.equal((await verify(token)).statusCode, 200)
})

t.test('adoption is off unless ADOPT_REFRESH_TOKENS turns it on, and then verify refuses too', async (t) => {
  for (const env of [{}, { ADOPT_REFRESH_TOKENS: 'off' }]) {
    const closed = await openApp(t, { SIGNING_KEY: secret, ...env })
    const { refresh, blacklist, verify } = endpointsOf(closed)
    const { id } = await closed.addUser('vitor', aPassword)
    for (const present of [refresh, blacklist, verify])
      t.same((await present(foreignToken(closed, id))).json(), invalid)
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  for (const [setting, status] of [
    ['on', 200],
    ['', 401]
  ] as const) {
    const service = await openApp(t, { SIGNING_KEY: pem, ALGORITHM: 'ES256', ADOPT_REFRESH_TOKENS: setting })
    const user = await service.addUser('vitor', aPassword)
    const signed = await new SignJWT({ token_type: 'refresh', jti: 'a', user_id: user.id, exp: service.clock() + 60 })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .sign(privateKey)
    t.equal((await endpointsOf(service).refresh(signed)).statusCode, status, `a key pair, and "${setting}"`)
  }
})

t.test(
  'with an end, only tokens that say they were issued before it are adopted, and none once the last has expired',
  async (t) => {
    // The clock of the tests begins on 2023-11-14 at 22:13:20.
    const service = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'until 2023-11-15' })
    const { refresh, verify, blacklist } = endpointsOf(service)
    const { id } = await service.addUser('vitor', aPassword)
    const end = Date.parse('2023-11-16T00:00:00Z') / 1000
    t.equal((await refresh(foreignToken(service, id))).statusCode, 200)
    t.same((await refresh(foreignToken(service, id, { iat: undefined }))).json(), invalid, 'an unknown time of issue')
    service.clock.advance(end - service.clock())
    t.same((await refresh(foreignToken(service, id))).json(), invalid, 'issued in the first second after it')
    t.same((await verify(foreignToken(service, id))).json(), invalid)
    t.same((await blacklist(foreignToken(service, id))).json(), invalid)
    const exp = end + 10 * 86_400
    t.equal((await refresh(foreignToken(service, id, { iat: end - 1, exp }))).statusCode, 200)
    service.clock.advance(86_399)
    t.equal((await refresh(foreignToken(service, id, { iat: end - 1, exp }))).statusCode, 200)
    service.clock.advance(1)
    t.same((await refresh(foreignToken(service, id, { iat: end - 1, exp }))).json(), invalid, 'a forged iat')
  }
)

t.test('an iat that is not a time, or is in the future, is refused at refresh, blacklist and verify', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, verify, blacklist } = endpointsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const now = service.clock()
  for (const iat of ['1700000000', null, true, [now], now + 6, now + 86_400, 1e15]) {
    const token = foreignToken(service, id, { iat })
    for (const present of [refresh, blacklist, verify])
      t.same((await present(token)).json(), invalid, JSON.stringify(iat))
  }
  for (const iat of [now + 5, now - 0.5, undefined])
    t.equal((await refresh(foreignToken(service, id, { iat }))).statusCode, 200, JSON.stringify(iat))
})

t.test('times that Simple JWT accepts are accepted by verify, introspection, refresh and logout alike', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, verify, blacklist } = endpointsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const client = await addClient(service)
  const introspect = async (token: string) => (await client.post('/oauth/introspect', { token })).json()
  const lastDate = 253_402_300_799
  const accepted = [{ iat: -5 }, { iat: -0.5 }, { iat: -1e300 }, { nbf: -5 }, { nbf: -1e300 }, { exp: lastDate }]
  for (const changes of accepted) {
    const name = JSON.stringify(changes)
    const token = foreignToken(service, id, changes)
    t.equal((await verify(token)).statusCode, 200, `verify ${name}`)
    t.match(await introspect(token), { active: true, ...changes }, `introspection ${name}`)
    const { access } = (await refresh(token)).json<Pair>()
    t.equal((await verify(access)).statusCode, 200, `refresh ${name}`)
    t.equal((await blacklist(foreignToken(service, id, changes))).statusCode, 200, `logout ${name}`)
  }
  const expired = { ...invalid, detail: 'Token is expired' }
  const refused = [
    ...[{ exp: -5 }, { exp: -1e300 }].map((changes) => ({ changes, body: expired })),
    ...[{ exp: lastDate + 1 }, { exp: 1e300 }, { nbf: 1e300 }, { iat: 1e300 }].map((changes) => ({
      changes,
      body: invalid
    }))
  ]
  for (const { changes, body } of refused) {
    const name = JSON.stringify(changes)
    const token = foreignToken(service, id, changes)
    for (const present of [verify, refresh, blacklist]) t.same((await present(token)).json(), body, name)
    t.same(await introspect(token), { active: false }, name)
  }
})

const claimsOf = (token: string): Record<string, unknown> => decodePart(token, 1)

t.test(
  'custom claims go on into the access token and the successors, unless a hook or the user names them',
  async (t) => {
    const hook = 'export const claims = () => ({ shop: "hook" })'
    const service = await openApp(t, { ...adopting, HOOKS_MODULE: aModule(t, hook) })
    const { refresh, verify, blacklist } = endpointsOf(service)
    const { id } = await service.addUser('vitor', aPassword)
    await service.app.stores.users.setClaims(id, { role: 'user' })
    const custom = { name: 'V\u00edtor', nested: { b: 1, a: [null] }, 7: 'seven', shop: 'django', role: 'django' }
    const token = foreignToken(service, id, { ...custom, nbf: service.clock(), aud: 'x', iss: 'y', sub: id })
    const expected = { ...custom, shop: 'hook', role: 'user' }
    const pick = (token: string) => Object.fromEntries(Object.keys(custom).map((name) => [name, claimsOf(token)[name]]))
    let successor = token
    for (const generation of [1, 2, 3]) {
      const answers = await Promise.all([refresh(successor), refresh(successor)])
      const [{ access, refresh: next }, retried] = answers.map((answer) => answer.json()) as [Pair, Pair]
      t.equal(retried.refresh, next, 'the same successor')
      t.same(pick(access), expected)
      t.same(pick(next), custom, 'as they came, for a hook that stops naming them')
      for (const name of ['nbf', 'aud', 'iss']) t.notOk(name in claimsOf(next), name)
      t.match(claimsOf(next), { gen: generation })
      t.equal((await verify(next)).statusCode, 200)
      successor = next
    }
    const forge = (token: string) => signShared(secret, { ...claimsOf(token), scope: 'keyturn.admin' })
    t.same((await refresh(forge(successor))).json(), invalid, 'another holder of the secret cannot add to them')
    const { access } = (await refresh(forge((await service.logIn('ours')).refresh))).json()
    t.notOk('scope' in claimsOf(access), 'nor to those of a token that carries none')
    t.equal((await blacklist(successor)).statusCode, 200)

    const tooMany = foreignToken(service, id, { big: 'x'.repeat(2100) })
    t.equal((await refresh(tooMany)).statusCode, 500, 'no token that is too long to be read')
    t.match(JSON.stringify(service.log.at(-1)), /with the claims of the adopted token .* longer than 2048/)
  }
)

t.test('with CHECK_REVOKE_TOKEN=true a refresh token has to name the password, as Simple JWT demands', async (t) => {
  const service = await openApp(t, { ...adopting, CHECK_REVOKE_TOKEN: 'true' })
  const { id, passwordHash } = await service.addUser('vitor', aPassword)
  const { refresh } = endpointsOf(service)
  for (const claim of [{}, { hash_password: null }, { hash_password: 'ABC' }]) {
    const answer = await refresh(foreignToken(service, id, claim))
    t.same([answer.statusCode, answer.json()], [401, { detail: "The user's password has been changed." }])
  }
  const bound = foreignToken(service, id, { hash_password: passwordFingerprint(passwordHash) })
  t.equal((await refresh(bound)).statusCode, 200)
})

t.test(
  'a sliding token of Simple JWT becomes a session, and keeps its jti, its claims and its refresh_exp',
  async (t) => {
    const service = await openApp(t, {
      ...adopting,
      SLIDING_TOKENS: 'true',
      REFRESH_TOKEN_LIFETIME: '1m',
      ACCESS_TOKEN_LIFETIME: '1m'
    })
    const { id } = await service.addUser('vitor', aPassword)
    const now = service.clock()
    const slidingToken = (changes: object = {}) =>
      foreignToken(service, id, {
        token_type: 'sliding',
        exp: now + 300,
        refresh_exp: now + 86_400,
        name: 'x',
        ...changes
      })
    const renew = async (token: string) => {
      const answer = await service.post('/api/token/sliding/refresh/', { token })
      return { status: answer.statusCode, body: answer.json() }
    }
    const { verify, blacklist, sessions } = endpointsOf(service)
    const askSessions = async (token: string) =>
      (await service.app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${token}` } })).statusCode

    const first = slidingToken()
    t.equal(await askSessions(first), 200, 'it lets in before it is adopted')
    const renewed = await Promise.all([renew(first), renew(first)])
    t.same(
      renewed.map(({ status }) => status),
      [200, 200]
    )
    const { token } = renewed[0]?.body ?? {}
    const { sid, ...claims } = claimsOf(token)
    t.same(claims, { ...claimsOf(first), exp: now + 300 })
    t.match(sid, /^[0-9a-f]{32}$/)
    t.equal((await sessions(token)).length, 1, 'once, however many try')
    service.clock.advance(200)
    t.equal((await renew(first)).status, 200, 'and stays valid until it expires')
    const later = (await renew(token)).body.token
    t.match(claimsOf(later), { sid, jti: claims.jti, refresh_exp: now + 86_400, name: 'x', exp: now + 500 })
    t.equal((await verify(later)).statusCode, 200)
    t.equal((await blacklist(first)).statusCode, 200, 'a logout with any of them')
    for (const each of [first, token, later]) {
      t.same((await verify(each)).json(), { non_field_errors: ['Token is blacklisted'] })
      t.same((await renew(each)).body, blacklisted)
      t.equal(await askSessions(each), 401)
    }
    t.same((await blacklist(first)).json(), blacklisted)

    const forged = signShared(secret, { ...claimsOf(later), jti: 'f'.repeat(32) })
    t.same((await renew(forged)).body, invalid, 'the session of another jti')
    t.same((await renew(slidingToken({ refresh_exp: undefined }))).body, {
      detail: "Token has no 'refresh_exp' claim",
      code: 'token_not_valid'
    })
    t.same((await renew(slidingToken({ refresh_exp: now }))).body, {
      detail: "Token 'refresh_exp' claim has expired",
      code: 'token_not_valid'
    })
    const unshown = slidingToken()
    t.equal((await blacklist(unshown)).statusCode, 200, 'a logout without a refresh')
    t.equal((await verify(unshown)).statusCode, 400)

    const off = await openApp(t, { SIGNING_KEY: secret, SLIDING_TOKENS: 'true' })
    await off.addUser('vitor', aPassword)
    t.same(
      (await off.post('/api/token/sliding/refresh/', { token: slidingToken() })).json(),
      invalid,
      'unless it is off'
    )
  }
)

t.test('Django beside: its blacklist and its tokens without a password', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t)
  const DATABASE_URL = await server.createDatabase()
  const db = openPostgres(DATABASE_URL)
  t.teardown(() => db.close())
  await migrate(db)
  await db.exclusively(({ script }) =>
    script(`CREATE TABLE auth_user (id integer PRIMARY KEY, username text, password text, is_active boolean);
      INSERT INTO auth_user VALUES (1, 'vitor', '!', true);
      CREATE TABLE token_blacklist_outstandingtoken (id bigint PRIMARY KEY, jti varchar(255) NOT NULL UNIQUE);
      CREATE TABLE token_blacklist_blacklistedtoken (id bigint PRIMARY KEY, token_id bigint NOT NULL UNIQUE);
      INSERT INTO token_blacklist_outstandingtoken VALUES (1, 'listed');
      INSERT INTO token_blacklist_blacklistedtoken VALUES (1, 1)`)
  )
  const open = (env: Record<string, string>) =>
    openApp(t, { DATABASE_URL, SIGNING_KEY: secret, USERS_TABLE: 'auth_user', SLIDING_TOKENS: 'true', ...env })
  const statusesOf = async (service: TestApp, claims: object) => {
    const token = foreignToken(service, '1', { refresh_exp: service.clock() + 600, ...claims })
    const headers = { authorization: `Bearer ${token}` }
    const answers = [
      await service.app.inject({ url: '/api/sessions/', headers }),
      await service.app.inject({ url: '/api/token/forward-auth/', headers }),
      await service.post('/api/token/verify/', { token }),
      await service.post('/api/token/sliding/refresh/', { token }),
      await service.post('/api/token/refresh/', { refresh: token }),
      await service.post('/api/token/blacklist/', { refresh: token })
    ]
    return answers.map(({ statusCode }) => statusCode)
  }
  const lenient = await open({ ADOPT_REFRESH_TOKENS: 'until 2023-11-15' })
  t.same(await statusesOf(lenient, { token_type: 'access' }), [200, 200, 200, 401, 401, 401])
  t.same(await statusesOf(lenient, { token_type: 'sliding' }), [200, 200, 200, 200, 401, 200])
  t.same(await statusesOf(lenient, { token_type: 'refresh' }), [401, 401, 200, 401, 200, 200])
  for (const token_type of ['sliding', 'refresh'])
    t.same(await statusesOf(lenient, { token_type, jti: 'listed' }), [401, 401, 400, 401, 401, 401], 'on its blacklist')
  const client = await addClient(lenient)
  const refusals = async (jti: string) => {
    const refresh_exp = lenient.clock() + 600
    const token = foreignToken(lenient, '1', { refresh_exp, token_type: 'sliding', jti })
    const headers = { authorization: `Bearer ${token}` }
    return [
      (await client.post('/oauth/introspect', { token })).json().active,
      (await lenient.post('/api/token/verify/batch/', { tokens: [token] })).json().results[0].active,
      (await lenient.post('/api/password/', { current_password: 'x', new_password: aPassword }, headers)).statusCode
    ]
  }
  t.same(await refusals('not listed'), [true, true, 400])
  t.same(await refusals('listed'), [false, false, 401])
  lenient.clock.advance(3 * 86_400)
  t.same((await statusesOf(lenient, { token_type: 'access' })).slice(0, 3), [401, 401, 200], 'the migration has ended')

  const off = await open({})
  t.same(await statusesOf(off, { token_type: 'access' }), [200, 200, 200, 401, 401, 401])
  t.same(await statusesOf(off, { token_type: 'sliding', jti: 'listed' }), [401, 401, 400, 401, 401, 401])
  const strict = await open({ ADOPT_REFRESH_TOKENS: 'on', CHECK_REVOKE_TOKEN: 'true' })
  t.same((await statusesOf(strict, { token_type: 'access' })).slice(0, 2), [401, 401])
  t.same(await statusesOf(strict, { token_type: 'sliding' }), [401, 401, 200, 401, 401, 200])
  const hash_password = passwordFingerprint('!')
  t.same((await statusesOf(strict, { token_type: 'access', hash_password })).slice(0, 2), [200, 200])
})

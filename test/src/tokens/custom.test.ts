/* What else is in an access token: claims of a module, claims kept with the user, and those that settings ask for. */
import t, { type Test } from 'tap'
import { claimNames } from '../../../src/config/claim-names.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { reservedClaims } from '../../../src/tokens/claims.ts'
import { claimsFault } from '../../../src/tokens/custom.ts'
import { aPassword, openApp, type TestApp } from '../../support/app.ts'
import { decodePart } from '../../support/forger.ts'
import { aDataDir, runKeyturn } from '../../support/keyturn.ts'
import { aModule } from '../../support/modules.ts'

const names = claimNames(loadConfig({}))
const claimsOf = (token: string): Record<string, unknown> => decodePart(token, 1)

/** A module whose function returns the latest `app.answers`, looked up for each token. */
const steered = `
  export default (user, context) => {
    globalThis.claimsAsked.push([user, context])
    return globalThis.claimsAnswer(user, context)
  }`

interface Steering {
  claimsAsked: [Record<string, unknown>, Record<string, unknown>][]
  claimsAnswer: (user: Record<string, unknown>, context: Record<string, unknown>) => unknown
}
const steering = globalThis as unknown as Steering

async function openSteered(t: Test, env: Record<string, string> = {}): Promise<TestApp> {
  Object.assign(steering, { claimsAsked: [], claimsAnswer: () => ({}) })
  return await openApp(t, { CLAIMS_MODULE: aModule(t, steered), ...env })
}

t.test('a module gives claims at each login and each refresh', async (t) => {
  const service = await openSteered(t)
  steering.claimsAnswer = async ({ username }, { grant }) => ({ name: username, grant, roles: ['a', { deep: null }] })
  const { userId, access, refresh } = await service.logIn('vitor')
  t.match(claimsOf(access), {
    token_type: 'access',
    user_id: userId,
    name: 'vitor',
    grant: 'login',
    roles: ['a', { deep: null }]
  })
  t.same(steering.claimsAsked, [
    [
      { id: userId, username: 'vitor', isActive: true, claims: {} },
      { grant: 'login', sid: undefined }
    ]
  ])
  t.notOk('name' in claimsOf(refresh), 'a refresh token carries none')

  const next = (await service.post('/api/token/refresh/', { refresh })).json()
  t.match(claimsOf(next.access), { grant: 'refresh', name: 'vitor' })
  t.same(steering.claimsAsked[1]?.[1], { grant: 'refresh', sid: claimsOf(refresh).sid })
  t.equal((await service.post('/api/token/verify/', { token: next.access })).statusCode, 200)
  t.notMatch(JSON.stringify(steering.claimsAsked), /argon2/, 'no function gets the password hash')

  steering.claimsAnswer = () => ({ at: new Date(0), left: undefined, call: () => 1, not: Number.NaN })
  const { access: written } = (await service.post('/api/token/refresh/', { refresh: next.refresh })).json()
  t.match(claimsOf(written), { at: '1970-01-01T00:00:00.000Z', not: null }, 'claims are what JSON makes of them')
  for (const name of ['left', 'call']) t.notOk(name in claimsOf(written))
})

t.test('a function that fails is a 500 without a detail, and nothing has happened', async (t) => {
  const service = await openSteered(t)
  const { refresh, access } = await service.logIn('vitor')
  const sessions = async (): Promise<number> =>
    (await service.app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${access}` } })).json()
      .sessions.length
  t.equal(await sessions(), 1)
  const circular: Record<string, unknown> = {}
  circular.self = circular
  const failures: readonly (readonly [name: string, answer: () => unknown, logged: RegExp])[] = [
    [
      'throws',
      () => {
        throw new Error('no database: postgres://me:pass@host')
      },
      /the claims function failed/
    ],
    ['rejects', () => Promise.reject('a text'), /the claims function failed/],
    [
      'throws nothing',
      () => {
        throw undefined
      },
      /the claims function failed/
    ],
    ...[...reservedClaims(names)]
      .filter((name) => name !== '__proto__')
      .map((name) => [`names ${name}`, () => ({ [name]: 'x' }), new RegExp(`${name} is Keyturn's own`)] as const),
    ['names __proto__', () => JSON.parse('{"__proto__":1}'), /__proto__ is Keyturn's own/],
    ['hides a name from sight', () => ({ toJSON: () => ({ user_id: 'admin' }) }), /user_id is Keyturn's own/],
    ['hides a class behind', () => ({ toJSON: () => [1] }), /not an object/],
    ['gives too much', () => ({ text: 'x'.repeat(2048 - 10) }), /longer than 2048 bytes/],
    ['gives too much in few characters', () => ({ text: 'é'.repeat(1024) }), /longer than 2048 bytes/],
    ['returns a value that is not JSON', () => ({ big: 1n }), /cannot be written as JSON/],
    ['gives a circle', () => circular, /cannot be written as JSON/]
  ]
  for (const [name, answer, logged] of failures) {
    steering.claimsAnswer = answer
    for (const [path, body] of [
      ['/api/token/', { username: 'vitor', password: aPassword }],
      ['/api/token/refresh/', { refresh }]
    ] as const) {
      const reply = await service.post(path, body)
      t.equal(reply.statusCode, 500, `${name}, ${path}`)
      t.equal(reply.body, '{"detail":"A server error occurred."}')
    }
    t.match(
      service.log.findLast(({ level }) => Number(level) >= 50),
      { code: 'CLAIMS_FAILED', msg: logged },
      `${name} is logged`
    )
  }
  t.equal(await sessions(), 1, 'no session was started')
  steering.claimsAnswer = () => ({ text: 'x'.repeat(2048 - 11) })
  const refreshed = await service.post('/api/token/refresh/', { refresh })
  t.equal(refreshed.statusCode, 200, 'and none was rotated: the same refresh token is still the newest')
  t.equal(claimsOf(refreshed.json().refresh).gen, 1)
  const longest = refreshed.json().access
  t.ok(longest.length < 4096, `the longest claims make a token of ${longest.length} characters`)
  t.equal((await service.post('/api/token/verify/', { token: longest })).statusCode, 200)
})

t.test('values that are not objects', async (t) => {
  for (const value of [undefined, null, 5, 'x', true, [], [{}]])
    t.match(claimsFault(value, names), /not an object/, JSON.stringify(value))
  for (const value of [{}, { a: null }, Object.create(null)]) t.equal(claimsFault(value, names), undefined)
  const service = await openSteered(t)
  for (const value of [undefined, null, {}]) {
    steering.claimsAnswer = () => value
    t.equal((await service.logIn(`user of ${value}`)).access.split('.').length, 3, `${value} adds nothing`)
  }
})

t.test('claims kept with a user', async (t) => {
  const service = await openSteered(t)
  const { userId, refresh } = await service.logIn('vitor')
  await service.app.stores.users.setClaims(userId, { team: 'blue', name: 'Vítor' })
  const { access } = (await service.post('/api/token/refresh/', { refresh })).json()
  t.match(claimsOf(access), { team: 'blue', name: 'Vítor' }, 'from the next token on')
  steering.claimsAnswer = ({ claims }) => ({ name: 'Module', seen: claims })
  const login = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  t.match(
    claimsOf(login.access),
    { team: 'blue', name: 'Module', seen: { team: 'blue', name: 'Vítor' } },
    'a module sees and outweighs them'
  )

  const env = { DATA_DIR: aDataDir(t) }
  t.equal((await runKeyturn(['users', 'create', 'ann'], env, aPassword)).code, 0)
  t.match(await runKeyturn(['users', 'set-claims', 'ann'], env, '{"team":"red"}'), { code: 0 })
  const refusals: readonly (readonly [string, RegExp])[] = [
    ['{"exp":1}', /exp is Keyturn's own/],
    ['[]', /not an object/],
    ['{', /./],
    [JSON.stringify({ text: 'x'.repeat(2048) }), /longer than 2048 bytes/]
  ]
  for (const [input, expected] of refusals) {
    const { code, stderr } = await runKeyturn(['users', 'set-claims', 'ann'], env, input)
    t.equal(code, 1, stderr)
    t.match(stderr, expected)
  }
})

const issuer = 'https://id.example.com'

t.test('ISSUER, AUDIENCE and sub', async (t) => {
  const plain = claimsOf((await (await openApp(t)).logIn()).access)
  t.same(Object.keys(plain), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid'])
  const one = await (await openApp(t, { ISSUER: issuer, AUDIENCE: 'shop' })).logIn()
  t.match(claimsOf(one.access), { iss: issuer, aud: 'shop', sub: one.userId, user_id: one.userId })
  t.notOk('sub' in claimsOf(one.refresh))
  const service = await openApp(t, { ISSUER: issuer, AUDIENCE: 'shop, bank' })
  const many = await service.logIn()
  t.match(claimsOf(many.access), { aud: ['shop', 'bank'] })
  t.equal((await service.post('/api/token/verify/', { token: many.access })).statusCode, 200)
})

t.test('TOKEN_PROFILE=rfc9068', async (t) => {
  const env = { TOKEN_PROFILE: 'rfc9068', ISSUER: issuer, AUDIENCE: 'shop' }
  const service = await openApp(t, {
    ...env,
    CLAIMS_MODULE: aModule(t, "export default () => ({ scope: 'read write' })")
  })
  const { userId, access, refresh } = await service.logIn()
  const now = service.clock()
  t.match(decodePart(access, 0), { typ: 'at+jwt', alg: 'ES256' })
  // RFC 9068 §2.2: iss, exp, aud, sub, client_id, iat and jti are required.
  t.match(claimsOf(access), {
    iss: issuer,
    aud: 'shop',
    sub: userId,
    client_id: 'keyturn',
    scope: 'read write',
    exp: now + 300,
    iat: now,
    jti: /^[0-9a-f]{32}$/,
    token_type: 'access',
    user_id: userId
  })
  t.match(decodePart(refresh, 0), { typ: 'JWT' })
  for (const token of [access, refresh]) t.equal((await service.post('/api/token/verify/', { token })).statusCode, 200)
  t.match(claimsOf((await (await openApp(t, { ISSUER: issuer, AUDIENCE: 'shop' })).logIn()).access), {
    client_id: undefined
  })
  for (const missing of ['ISSUER', 'AUDIENCE'])
    t.throws(() => loadConfig({ ...env, [missing]: '' }), {
      message: /^TOKEN_PROFILE: rfc9068 without ISSUER or AUDIENCE/
    })
})

t.test('LEEWAY, to the second and at its bounds', async (t) => {
  for (const leeway of [0, 1, 300]) {
    const service = await openApp(t, { LEEWAY: String(leeway) })
    const { access } = await service.logIn()
    const verify = async (): Promise<number> => (await service.post('/api/token/verify/', { token: access })).statusCode
    service.clock.advance(300 + leeway - 1)
    t.equal(await verify(), 200, `in the last second of LEEWAY=${leeway}`)
    service.clock.advance(1)
    t.equal(await verify(), 401)
  }
  for (const value of ['301', '-1', '1.5', 'x'])
    t.throws(() => loadConfig({ LEEWAY: value }), { message: /^LEEWAY: / }, value)
  t.equal(loadConfig({ LEEWAY: '5m' }).leeway, 300)
})

/*
 * A team moves from Django with Simple JWT: a real Django project and Keyturn on one PostgreSQL database, with one secret.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../support/arbiter.ts'
import { startDjangoProject } from '../support/django.ts'
import { post, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, withoutDjango, withoutPostgres } from '../support/needs.ts'

const password = 'correct horse battery'

t.test('the move logs no user out', { skip: withoutDjango() || withoutPostgres(), timeout: 110_000 }, async (t) => {
  const postgres = await needsPostgres(t, { tcp: true })
  const database = await postgres.createDatabase()
  const secret = randomBytes(32).toString('hex')
  const django = await startDjangoProject(t, database, secret)
  const act = async (verb: string, username: string, password?: string) =>
    (await post(`${django}/do/`, { verb, username, password })).body as Record<string, unknown>
  const { id } = await act('create', 'vitor', password)
  await act('create', 'ana', password)

  const env = {
    DATABASE_URL: database,
    SIGNING_KEY: secret,
    USERS_TABLE: 'auth_user',
    ADOPT_REFRESH_TOKENS: 'on',
    UPDATE_LAST_LOGIN: 'true',
    REFRESH_REUSE_GRACE: '2s',
    REFRESH_LATE_RETRY: '0',
    DATA_DIR: t.testdir()
  }
  const doctor = () => runKeyturn(['doctor'], env)
  t.match(await doctor(), { code: 1, stdout: /^error .*keyturn migrate$/m })
  t.equal((await runKeyturn(['migrate'], env)).code, 0)
  const login = async (username: string, service = `${keyturn.url}/api`) =>
    await post(`${service}/token/`, { username, password })
  const keyturn = await startKeyturn(t, env)
  const refresh = (token = '') => post(`${keyturn.url}/api/token/refresh/`, { refresh: token })
  const verify = (token = '') => post(`${keyturn.url}/api/token/verify/`, { token })
  const whoami = async (token = '') =>
    (
      (await (await fetch(`${django}/whoami/`, { headers: { authorization: `Bearer ${token}` } })).json()) as {
        username?: string
      }
    ).username

  // Before the move: Django hands out tokens.
  const old = await login('vitor', django)
  const used = await login('vitor', django)
  const loggedOut = await login('vitor', django)
  t.equal((await post(`${django}/token/blacklist/`, { refresh: loggedOut.body.refresh ?? '' })).status, 200)
  const seen = await doctor()
  t.match(seen, { code: 0, stdout: /^ok {5}auth_user has 2 users, 0 of them inactive\.$/m })
  t.match(seen.stdout, /^ok {5}2 passwords are pbkdf2_sha256, which Keyturn verifies\.$/m)
  t.match(seen.stdout, /^ok {5}SIGNING_KEY is Django’s signing key: 2 refresh tokens/m)
  const stranger = await runKeyturn(['doctor'], { ...env, SIGNING_KEY: randomBytes(32).toString('hex') })
  t.match(stranger, { code: 1, stdout: /^error {2}Django’s newest refresh token does not verify with SIGNING_KEY/m })

  // Its tokens go on working.
  t.strictSame(await verify(old.body.access), { status: 200, body: {} }, 'an access token of Django')
  const adopted = await Promise.all(Array.from({ length: 20 }, () => refresh(old.body.refresh)))
  t.same([...new Set(adopted.map(({ status }) => status))], [200], 'a refresh token, by twenty at once')
  t.equal(new Set(adopted.map(({ body }) => body.refresh)).size, 1, 'one session')
  const sessions = await runKeyturn(['sessions', 'list', 'vitor', '--json'], env)
  t.equal(sessions.stdout.trim().split('\n').length, 1)
  t.equal(await whoami(adopted[0]?.body.access), 'vitor', 'Django takes what it is exchanged for')
  t.match(await refresh(loggedOut.body.refresh), { status: 401, body: { detail: 'Token is blacklisted' } }, 'by Django')
  t.equal((await verify(loggedOut.body.refresh)).status, 400)
  await sleep(3100)
  t.match(
    await refresh(old.body.refresh),
    { status: 401, body: { detail: 'Token is blacklisted' } },
    'once and only once'
  )

  // Its users log in, with the passwords they have.
  const first = await login('vitor')
  t.equal(first.status, 200)
  const claims = JSON.parse(Buffer.from(first.body.access?.split('.')[1] ?? '', 'base64url').toString())
  t.equal(claims.user_id, String(id))
  t.equal(await whoami(first.body.access), 'vitor')
  const state = await act('look', 'vitor', password)
  t.match(state, { check_password: true, password: /^pbkdf2_sha256\$/ }, 'a digest that Django can read')
  t.ok(Math.abs(Number(state.last_login) - Date.now() / 1000) < 60, 'last_login, as Django writes it')
  const wrong = await post(`${keyturn.url}/api/token/`, { username: 'vitor', password: 'wrong' })
  t.match(wrong, { status: 401, body: { detail: 'No active account found with the given credentials' } })

  // What Django does to a user counts at the next refresh.
  await act('set_password', 'vitor', 'another password')
  t.match(await refresh(first.body.refresh), { status: 401, body: { detail: "The user's password has been changed." } })
  await until(async () => (await verify(first.body.access)).status !== 200, 'the access token is refused')
  t.match(
    await verify(first.body.access),
    { status: 401, body: { detail: 'Token is blacklisted' } },
    'the session is over'
  )
  const ana = await login('ana')
  t.equal(ana.status, 200)
  await act('deactivate', 'ana')
  t.match(await refresh(ana.body.refresh), { status: 401, body: { detail: /^No active account/ } })
  t.equal((await login('ana')).status, 401)
  await act('delete', 'vitor')
  t.match(await refresh(used.body.refresh), { status: 401, body: { detail: /^No active account/ } })

  // And back again: what Keyturn handed out works in Django.
  await act('create', 'rui', password)
  const back = await post(`${django}/token/refresh/`, { refresh: (await login('rui')).body.refresh ?? '' })
  t.equal(back.status, 200)
  t.equal(await whoami(back.body.access), 'rui')
  t.equal(await keyturn.stop(), 0)
})

t.test(
  'from the shared secret to ES256',
  { skip: withoutDjango() || withoutPostgres(), timeout: 110_000 },
  async (t) => {
    const postgres = await needsPostgres(t, { tcp: true })
    const DATABASE_URL = await postgres.createDatabase()
    const secret = randomBytes(32).toString('hex')
    const env = {
      DATABASE_URL,
      KEY_ENCRYPTION_SECRET: randomBytes(32).toString('hex'),
      USERS_TABLE: 'auth_user',
      DATA_DIR: t.testdir()
    }
    t.equal((await runKeyturn(['migrate'], env)).code, 0)
    const before = await startDjangoProject(t, DATABASE_URL, secret)
    await post(`${before}/do/`, { verb: 'create', username: 'vitor', password })
    const { body: old } = await post(`${before}/token/`, { username: 'vitor', password })
    const first = await startKeyturn(t, { ...env, SIGNING_KEY: secret })
    const { body: ours } = await post(`${first.url}/api/token/`, { username: 'vitor', password })
    t.equal(await first.stop(), 0)

    const keyturn = await startKeyturn(t, { ...env, SIGNING_KEY_PREVIOUS: secret, ADOPT_REFRESH_TOKENS: 'on' })
    const django = await startDjangoProject(t, DATABASE_URL, secret, `${keyturn.url}/.well-known/jwks.json`)
    const statusOf = async (token = '') =>
      (await fetch(`${django}/whoami/`, { headers: { authorization: `Bearer ${token}` } })).status
    t.equal(await statusOf(ours.access), 200, 'an access token signed with the secret')
    for (const refresh of [ours.refresh, old.refresh]) {
      const { status, body } = await post(`${keyturn.url}/api/token/refresh/`, { refresh: refresh ?? '' })
      t.equal(status, 200, 'no user has to log in again')
      t.match(JSON.parse(Buffer.from(body.access?.split('.')[0] ?? '', 'base64url').toString()), { alg: 'ES256' })
      t.equal(await statusOf(body.access), 200, 'and what they get is taken, by the JWKS')
    }
    t.equal(await statusOf(`${ours.access}x`), 401)
    t.equal(await keyturn.stop(), 0)
  }
)

t.test('with RS256, step by step', { skip: withoutDjango() || withoutPostgres(), timeout: 110_000 }, async (t) => {
  const postgres = await needsPostgres(t, { tcp: true })
  const DATABASE_URL = await postgres.createDatabase()
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const SIGNING_KEY = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const django = await startDjangoProject(t, DATABASE_URL, SIGNING_KEY)
  await post(`${django}/do/`, { verb: 'create', username: 'vitor', password })
  const pairs = await Promise.all(
    Array.from({ length: 2 }, async () => (await post(`${django}/token/`, { username: 'vitor', password })).body)
  )
  const tokens = pairs.map(({ refresh = '' }) => refresh)

  // 1. Look.
  const KEY_ENCRYPTION_SECRET = randomBytes(32).toString('hex')
  const env = { DATABASE_URL, SIGNING_KEY, ALGORITHM: 'RS256', KEY_ENCRYPTION_SECRET, USERS_TABLE: 'auth_user' }
  t.equal((await runKeyturn(['migrate'], env)).code, 0)
  t.match(
    (await runKeyturn(['doctor'], env)).stdout,
    /^note {3}.*ADOPT_REFRESH_TOKENS is off\. Users whom Simple JWT logged in/m
  )
  const refresh = (url: string, token = '') => post(`${url}/api/token/refresh/`, { refresh: token })

  // 2. and 3. Adoption on, beside Django.
  const on = { ...env, ADOPT_REFRESH_TOKENS: 'on' }
  t.match((await runKeyturn(['doctor'], on)).stdout, /^ok .* 2 refresh tokens stay valid, each for one refresh\.$/m)
  const beside = await startKeyturn(t, on)
  const { status, body } = await refresh(beside.url, tokens[0])
  t.equal(status, 200)
  const bearing = (token = '') => ({ headers: { authorization: `Bearer ${token}` } })
  t.equal(
    (await fetch(`${django}/whoami/`, bearing(body.access))).status,
    200,
    'Django accepts what it is exchanged for'
  )
  const theirs = await fetch(`${beside.url}/api/sessions/`, bearing(pairs[0]?.access))
  t.equal(theirs.status, 200, 'and Keyturn an access token of Django')
  t.equal(await beside.stop(), 0)

  // 4. The end of adoption, and 5. keys of Keyturn's own.
  const today = new Date().toISOString().slice(0, 10)
  const { SIGNING_KEY: _, ALGORITHM: __, ...rest } = env
  const own = {
    ...rest,
    SIGNING_KEY_PREVIOUS: SIGNING_KEY,
    ALGORITHM_PREVIOUS: 'RS256',
    ADOPT_REFRESH_TOKENS: `until ${today}`
  }
  t.match((await runKeyturn(['check-config'], own)).stdout, /adopted if issued until .* can log in as any user\.$/m)
  const alone = await startKeyturn(t, own)
  for (const token of [tokens[1], body.refresh]) {
    const answer = await refresh(alone.url, token)
    t.equal(answer.status, 200)
    t.match(JSON.parse(Buffer.from(answer.body.access?.split('.')[0] ?? '', 'base64url').toString()), { alg: 'ES256' })
  }
  t.equal(await alone.stop(), 0)
})

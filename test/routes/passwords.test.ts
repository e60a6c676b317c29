/* Password digests over HTTP: what a login and a password change leave in the table. */
import t, { type Test } from 'tap'
import { migrate } from '../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { aPassword, type Login, openApp, type TestApp } from '../support/app.ts'
import { checkedByDjango } from '../support/django.ts'
import { decodePart } from '../support/forger.ts'
import { needsPostgres, withoutDjango, withoutPostgres } from '../support/needs.ts'

/** `aPassword`, by Django 3.2.25. */
const ofDjango = 'pbkdf2_sha256$1000$rgD72Yw1NsNpgCm3qixqtt$RbdHgGJC/ZAdkG1yGajD/A60J0Qymkio5X6p+u1BP90='
const fast = 'md5$SWPZm1lOJSdd5XLXrQn9eQ$d636e7048d0486d53a263f41c42a4ca1'

async function logIn({ app, post, log }: TestApp, digest: string) {
  const username = `user ${Math.random()}`
  const user = await app.stores.users.create(username, digest)
  const wrong = await post('/api/token/', { username, password: 'wrong' })
  const right = await post('/api/token/', { username, password: aPassword })
  return {
    statuses: [wrong.statusCode, right.statusCode],
    access: right.json<{ access: string }>().access,
    rehash: log.at(-1)?.rehash,
    digest: async () => (await app.stores.users.findByUsername(user?.username ?? ''))?.passwordHash ?? ''
  }
}

t.test('PASSWORD_REHASH=argon2id, the default', async (t) => {
  const app = await openApp(t)
  for (const digest of [ofDjango, fast]) {
    const login = await logIn(app, digest)
    t.same(login.statuses, [401, 200])
    t.equal(login.rehash, 'done', 'the log line says it')
    t.match(await login.digest(), /^\$argon2id\$v=19\$m=8192,t=1,p=1\$/)
  }
  const login = await logIn(app, await app.app.hasher.hash(aPassword))
  t.same(login.statuses, [401, 200])
  t.equal(login.rehash, undefined)
})

t.test('PASSWORD_REHASH=django', { skip: withoutDjango(), timeout: 120_000 }, async (t) => {
  const app = await openApp(t, { PASSWORD_REHASH: 'django' })
  const kept = await logIn(app, ofDjango)
  t.same(kept.statuses, [401, 200])
  t.equal(await kept.digest(), ofDjango)
  const replaced = await logIn(app, fast)
  t.same(replaced.statuses, [401, 200])
  t.match(await replaced.digest(), /^pbkdf2_sha256\$600000\$/)

  const wanted = 'another horse'
  const change = await app.post(
    '/api/password/',
    { current_password: aPassword, new_password: wanted },
    { authorization: `Bearer ${kept.access}` }
  )
  t.equal(change.statusCode, 204)
  const pairs = [
    [aPassword, await replaced.digest()],
    [wanted, await kept.digest()],
    [aPassword, await kept.digest()]
  ] as const
  t.same(checkedByDjango(pairs), [true, true, false], 'Django reads what was written')
})

t.test('PASSWORD_REHASH=never', async (t) => {
  const app = await openApp(t, { PASSWORD_REHASH: 'never' })
  for (const digest of [ofDjango, fast]) {
    const login = await logIn(app, digest)
    t.same(login.statuses, [401, 200])
    t.equal(await login.digest(), digest)
  }
})

t.test('login: of several at once with a digest that is rehashed, each gets tokens of the new one', async (t) => {
  const { app, post } = await openApp(t, { CHECK_REVOKE_TOKEN: 'true' })
  await app.stores.users.create('vitor', ofDjango)
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => post('/api/token/', { username: 'vitor', password: aPassword }))
  )
  for (const answer of answers) {
    t.equal(answer.statusCode, 200)
    const headers = { authorization: `Bearer ${answer.json<{ access: string }>().access}` }
    t.equal(
      (await app.inject({ url: '/api/sessions/', headers })).statusCode,
      200,
      'bound to the digest that is stored'
    )
  }
})

const wanted = 'staple under the bridge'

/** The answer to a password change during whose hashing `change` happens, and the password that is valid afterwards. */
async function changeMeanwhile(t: Test, service: TestApp, login: Login, change: () => Promise<unknown>) {
  const { hasher, stores } = service.app
  const { hash } = hasher
  let times = 0
  const interrupted = t.intercept(hasher, 'hash', {
    value: async (password: string) => {
      if (times++ === 0) await change()
      return await hash(password)
    }
  })
  const body = { current_password: aPassword, new_password: wanted }
  const answer = await service.post('/api/password/', body, { authorization: `Bearer ${login.access}` })
  interrupted.restore()
  const user = await stores.users.findById(login.userId)
  const isSet = user !== undefined && (await hasher.verify(wanted, user.passwordHash))
  return { status: answer.statusCode, code: answer.body === '' ? undefined : answer.json().code, isSet }
}

t.test('password change: what changes while passwords are hashed is honoured', async (t) => {
  const service = await openApp(t)
  const { users, sessions } = service.app.stores
  const { hash } = service.app.hasher
  const refused = { status: 401, isSet: false }
  const rows: readonly (readonly [name: string, change: (userId: string, sid: string) => Promise<unknown>, object])[] =
    [
      ['deactivated', (id) => users.setActive(id, false), { ...refused, code: 'user_inactive' }],
      ['deleted', (id) => users.delete(id), { ...refused, code: 'user_not_found' }],
      ['without this session', (id, sid) => sessions.revoke(id, sid), { ...refused, code: 'token_not_valid' }],
      ['without sessions', (id) => sessions.revokeAll(id), { ...refused, code: 'token_not_valid' }],
      [
        'given another password',
        async (id) => {
          await users.setPassword(id, await hash('another horse'))
          await sessions.revokeAll(id)
        },
        { status: 400, isSet: false }
      ],
      ['rehashed', async (id) => users.setPassword(id, await hash(aPassword)), { status: 204, isSet: true }]
    ]
  for (const [name, change, expected] of rows) {
    const login = await service.logIn(name)
    const [{ sid } = { sid: '' }] = await sessions.list(login.userId)
    t.match(await changeMeanwhile(t, service, login, () => change(login.userId, sid)), expected, `a user ${name}`)
  }
})

t.test('password change: CHECK_USER_IS_ACTIVE=false lets an inactive user change the password', async (t) => {
  const service = await openApp(t, { CHECK_USER_IS_ACTIVE: 'false' })
  const login = await service.logIn()
  const deactivate = () => service.app.stores.users.setActive(login.userId, false)
  t.match(await changeMeanwhile(t, service, login, deactivate), { status: 204, isSet: true })
})

t.test('password change: a sliding token whose session has ended meanwhile changes nothing', async (t) => {
  const service = await openApp(t, { SLIDING_TOKENS: 'true' })
  const login = await service.logIn()
  const answer = await service.post('/api/token/sliding/', { username: 'vitor', password: aPassword })
  const sliding = { ...login, access: answer.json<{ token: string }>().token }
  const { sessions } = service.app.stores
  t.match(await changeMeanwhile(t, service, sliding, () => sessions.revokeAll(login.userId)), {
    status: 401,
    isSet: false
  })
})

t.test('users of Django whose names are not in NFKC log in', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t)
  const DATABASE_URL = await server.createDatabase()
  const db = openPostgres(DATABASE_URL)
  t.teardown(() => db.close())
  await migrate(db)
  // `jose` and an acute accent; the last one is in NFKC, and is sent as `zoe` with a full-width z.
  const names = ['user\u00b2', 'user2', 'jose\u0301', 'zoe']
  const ids = Object.fromEntries(names.map((name, index) => [name, `${index + 1}`]))
  await db.exclusively(({ script }) =>
    script('CREATE TABLE auth_user (id integer PRIMARY KEY, username text UNIQUE, password text, is_active boolean)')
  )
  for (const name of names)
    await db.query('INSERT INTO auth_user VALUES ($1, $2, $3, true)', [ids[name] ?? '', name, ofDjango])
  const KEY_ENCRYPTION_SECRET = 'a secret of the tests, long enough'
  const { post } = await openApp(t, { DATABASE_URL, KEY_ENCRYPTION_SECRET, USERS_TABLE: 'auth_user' })
  for (const [sent, name] of [...names.map((name) => [name, name] as const), ['\uff5aoe', 'zoe'] as const]) {
    const answer = await post('/api/token/', { username: sent, password: aPassword })
    t.equal(answer.statusCode, 200, name)
    t.equal(decodePart(answer.json<{ access: string }>().access, 1).user_id, ids[name], name)
  }
})

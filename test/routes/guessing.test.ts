/* Password guessing over HTTP: what is refused, how, and who still gets through. */
import t from 'tap'
import { migrate } from '../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'

/** A JSON request from `ip`. */
const from =
  ({ app }: TestApp, ip: string) =>
  (url: string, body: object, headers: Record<string, string> = {}) =>
    app.inject({
      method: 'POST',
      url,
      remoteAddress: ip,
      payload: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers }
    })

/** The statuses of so many logins with a wrong password, one after the other. */
async function guess(testApp: TestApp, username: string, times: number, url = '/api/token/'): Promise<number[]> {
  const post = from(testApp, '198.51.100.1')
  const statuses = []
  for (let index = 0; index < times; index++)
    statuses.push((await post(url, { username, password: 'wrong' })).statusCode)
  return statuses
}

const tenAndNoMore = [...new Array(10).fill(401), 429, 429]

t.test('a refused login is throttled in the words of Simple JWT, whether there is such a user or not', async (t) => {
  const testApp = await openApp(t)
  await testApp.addUser('ann', aPassword)
  await testApp.addUser('gone', aPassword).then(({ id }) => testApp.app.stores.users.setActive(id, false))
  const answers = []
  for (const username of ['ann', 'unknown', 'gone']) {
    t.same(await guess(testApp, username, 12), tenAndNoMore, username)
    const answer = await from(testApp, '198.51.100.2')('/api/token/', { username, password: aPassword })
    t.match(answer.headers['retry-after'], /^6[0-4]$/)
    answers.push([answer.statusCode, answer.json()])
  }
  const throttled = [429, { detail: 'Request was throttled. Expected available in 60 seconds.' }]
  t.same(answers, [throttled, throttled, throttled], 'with the right password too')
  t.match(testApp.log.at(-1), { event: 'login', status: 429, refusal: 'RATE_LIMITED' })
})

t.test('the owner gets through, from a known address or with a token', async (t) => {
  const testApp = await openApp(t, { COOKIE_MODE: 'on' })
  const [home, away] = ['192.0.2.1', '192.0.2.2'].map((ip) => from(testApp, ip))
  const { id } = await testApp.addUser('ann', aPassword)
  await testApp.addUser('ben', aPassword)
  const credentials = { username: 'ann', password: aPassword }
  const first = await home?.('/api/token/', credentials)
  const other = await home?.('/api/token/', { username: 'ben', password: aPassword })
  await guess(testApp, 'ann', 12)
  t.equal((await home?.('/api/token/', credentials))?.statusCode, 200)
  t.equal((await away?.('/api/token/', credentials))?.statusCode, 429)

  const withToken = async (headers: Record<string, string>) =>
    (await away?.('/api/token/', { username: 'ANN', password: 'wrong' }, headers))?.statusCode
  const access = first?.json().access
  const cookie = String(first?.headers['set-cookie']).split(';')[0] ?? ''
  t.equal(await withToken({ authorization: `Bearer ${access}` }), 401, 'the password is looked at')
  t.equal(await withToken({ cookie }), 401)
  for (const authorization of [`Bearer ${other?.json().access}`, `Bearer ${access}x`, `JWT ${access}`, 'Bearer'])
    t.equal(await withToken({ authorization }), 429, authorization.slice(0, 12))
  await testApp.app.stores.sessions.revokeAll(id)
  t.equal(await withToken({ cookie }), 429, 'of a session that has ended')
})

t.test('sliding tokens are logged in to as carefully', async (t) => {
  const testApp = await openApp(t, { SLIDING_TOKENS: 'true' })
  await testApp.addUser('ann', aPassword)
  t.same(await guess(testApp, 'ann', 6), new Array(6).fill(401))
  t.same(
    await guess(testApp, 'ann', 5, '/api/token/sliding/'),
    [401, 401, 401, 401, 429],
    'one budget for both endpoints'
  )
})

t.test('a thief with a stolen token cannot guess the password at its change', async (t) => {
  const testApp = await openApp(t)
  const { access } = await testApp.logIn('ann')
  const post = from(testApp, '198.51.100.1')
  const change = async (current: string) => {
    const body = { current_password: current, new_password: 'another horse' }
    return (await post('/api/password/', body, { authorization: `Bearer ${access}` })).statusCode
  }
  const statuses = []
  for (let index = 0; index < 22; index++) statuses.push(await change('wrong'))
  t.same(statuses, [...new Array(20).fill(400), 429, 429], 'ten of the session, and ten of the account')
  t.equal(await change(aPassword), 429)
  testApp.clock.advance(60)
  t.equal(await change(aPassword), 204)
})

t.test('LOGIN_BACKOFF=off', async (t) => {
  const testApp = await openApp(t, { LOGIN_BACKOFF: 'off' })
  t.same(await guess(testApp, 'ann', 15), new Array(15).fill(401))
})

t.test('a login whose client has gone starts no session', async (t) => {
  const { app, addUser } = await openApp(t)
  const { id } = await addUser('ann', aPassword)
  const gone = new AbortController()
  const { verify } = app.hasher
  Object.assign(app.hasher, {
    async verify(password: string, digest: string | undefined) {
      const matches = await verify(password, digest)
      gone.abort()
      return matches
    }
  })
  const client = { ip: '192.0.2.1', userAgent: '', signal: gone.signal }
  const left = app.flows.obtain({ username: 'ann', password: aPassword }, client)
  await t.rejects(left, { code: 'BUSY', detail: 'the client has disconnected' })
  t.same(await app.stores.sessions.list(id), [])
})

t.test(
  'guesses of one user are counted together, however the database folds its name',
  {
    skip: withoutPostgres()
  },
  async (t) => {
    const server = await needsPostgres(t)
    const accents = "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
    const djangos = (type: string) => `CREATE TABLE auth_user (id integer PRIMARY KEY, username ${type} UNIQUE,
    password text, is_active boolean); INSERT INTO auth_user VALUES (1, 'zoe', '!', true)`
    const spellings = ['zoé', 'zöe', 'zòe', 'žoe', 'zoë', 'zõe']
    const ways: readonly (readonly [way: string, setup: string, spellings: readonly string[], table?: string])[] = [
      ['own table', `${accents}; ALTER TABLE keyturn_users ALTER username TYPE text COLLATE folded`, spellings],
      ['collation', `${accents}; ${djangos('varchar(150) COLLATE folded')}`, spellings, 'auth_user'],
      ['citext', `CREATE EXTENSION citext; ${djangos('citext')}`, ['zoe', 'ZOE', 'Zoe', 'zOe'], 'auth_user']
    ]
    for (const [way, setup, names, table] of ways) {
      const url = await server.createDatabase()
      const db = openPostgres(url)
      await migrate(db)
      await db.exclusively(({ script }) => script(setup))
      await db.close()
      const secret = { KEY_ENCRYPTION_SECRET: 'a secret of the tests, long enough' }
      const testApp = await openApp(t, { DATABASE_URL: url, ...secret, ...(table && { USERS_TABLE: table }) })
      if (table === undefined) await testApp.addUser('zoe', aPassword)
      const statuses = []
      for (let each = 0; each < 12; each++)
        statuses.push(...(await guess(testApp, names[each % names.length] ?? '', 1)))
      t.same(statuses, tenAndNoMore, way)
      const elsewhere = await guess(testApp, 'unknown', 1)
      t.same(elsewhere, [401], `${way}: another name`)
      await testApp.app.close()
    }
  }
)

/*
 * The endpoints that require an access token: authentication as in Simple JWT's JWTAuthentication, and what becomes of sessions
 * there. What ends a session ends its access tokens too.
 */
import t from 'tap'
import { aPassword, type Login, openApp, type TestApp } from '../support/app.ts'
import { until } from '../support/arbiter.ts'

const notProvided = { detail: 'Authentication credentials were not provided.' }
const malformed = {
  detail: 'Authorization header must contain two space-delimited values',
  code: 'bad_authorization_header'
}
const notValid = (message: string) => ({
  detail: 'Given token not valid for any token type',
  code: 'token_not_valid',
  messages: [{ token_class: 'AccessToken', token_type: 'access', message }]
})

const bearing = (access: string): Record<string, string> => ({ authorization: `Bearer ${access}` })

/** Another login of a user that is there. */
const logInAgain = async ({ post }: TestApp, headers: Record<string, string> = {}): Promise<Login> =>
  (await post('/api/token/', { username: 'vitor', password: aPassword }, headers)).json()

const sidOf = (token: string): string => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).sid

/** Verify's answer, asked again until the worker has heard of what was revoked. */
async function verdictOnceHeard({ post }: TestApp, token: string): Promise<string> {
  let verdict = ''
  await until(async () => {
    const { statusCode, body } = await post('/api/token/verify/', { token })
    verdict = `${statusCode} ${body}`
    return statusCode !== 200
  })
  return verdict
}

const blacklisted = '401 {"detail":"Token is blacklisted","code":"token_not_valid"}'

t.test('who is let in', async (t) => {
  const service = await openApp(t)
  const { app, clock, logIn } = service
  const { access, refresh, userId } = await logIn()
  const ask = async (authorization?: string) => {
    const answer = await app.inject({
      url: '/api/sessions/',
      headers: authorization === undefined ? {} : { authorization }
    })
    const isDocumented = answer.statusCode === 401 && !/not provided|must contain two/.test(answer.body)
    const challenge = isDocumented ? 'Bearer realm="api", error="invalid_token"' : 'Bearer realm="api"'
    t.equal(
      answer.headers['www-authenticate'],
      answer.statusCode === 401 ? challenge : undefined,
      `the challenge for ${authorization?.slice(0, 12)}`
    )
    return answer
  }
  const rows: readonly (readonly [name: string, header: string | undefined, body: object])[] = [
    ['none', undefined, notProvided],
    ['empty', '', notProvided],
    ['another type', 'Basic dTpw', notProvided],
    ['in lower case', `bearer ${access}`, notProvided],
    ['in capitals', `BEARER ${access}`, notProvided],
    ['the bare token', access, notProvided],
    ['the type alone', 'Bearer', malformed],
    ['three parts', `Bearer ${access} ${access}`, malformed],
    ['a refresh token', `Bearer ${refresh}`, notValid('Token has wrong type')],
    ['a word', 'Bearer x', notValid('Token is invalid')],
    ['a signature of somebody else', `Bearer ${access.slice(0, -8)}AAAAAAAA`, notValid('Token is invalid')]
  ]
  for (const [name, header, body] of rows) {
    const answer = await ask(header)
    t.equal(answer.statusCode, 401, name)
    t.same(answer.json(), body, name)
  }
  for (const header of [`Bearer ${access}`, `Bearer   ${access}`, `Bearer\t${access}`]) {
    t.equal((await ask(header)).statusCode, 200)
  }
  await app.stores.users.setActive(userId, false)
  t.same((await ask(`Bearer ${access}`)).json(), { detail: 'User is inactive', code: 'user_inactive' })
  await app.stores.database.query('DELETE FROM keyturn_users WHERE id = $1', [userId])
  t.same((await ask(`Bearer ${access}`)).json(), { detail: 'User not found', code: 'user_not_found' })
  clock.advance(300)
  t.same((await ask(`Bearer ${access}`)).json(), notValid('Token is expired'))

  const renamed = await openApp(t, { AUTH_HEADER_TYPES: 'JWT,Bearer' })
  const login = await renamed.logIn()
  for (const type of ['JWT', 'Bearer']) {
    const headers = { authorization: `${type} ${login.access}` }
    t.equal((await renamed.app.inject({ url: '/api/sessions/', headers })).statusCode, 200)
  }
  const refused = await renamed.app.inject('/api/sessions/')
  t.equal(refused.headers['www-authenticate'], 'JWT realm="api"', 'the challenge names the first')
})

t.test('the list of sessions', async (t) => {
  const service = await openApp(t)
  const { app, clock, logIn } = service
  const first = await logIn()
  clock.advance(60)
  const second = await logInAgain(service, { 'user-agent': 'curl/8', 'x-forwarded-for': '192.0.2.1' })
  await logIn('somebody else')
  clock.advance(60)
  await service.post('/api/token/refresh/', { refresh: first.refresh })
  const answer = await app.inject({ url: '/api/sessions/', headers: bearing(first.access) })
  t.equal(answer.statusCode, 200)
  t.match(answer.headers, { 'cache-control': 'no-store', allow: 'GET, HEAD, DELETE, OPTIONS' })
  t.same(answer.json(), {
    sessions: [
      {
        id: sidOf(second.access),
        created_at: '2023-11-14T22:14:20Z',
        last_used_at: '2023-11-14T22:14:20Z',
        expires_at: '2023-11-15T22:14:20Z',
        ip: '192.0.2.1',
        user_agent: 'curl/8',
        current: false
      },
      {
        id: sidOf(first.access),
        created_at: '2023-11-14T22:13:20Z',
        last_used_at: '2023-11-14T22:15:20Z',
        expires_at: '2023-11-15T22:15:20Z',
        ip: '127.0.0.1',
        user_agent: 'lightMyRequest',
        current: true
      }
    ],
    next: null
  })
})

t.test('the list of sessions comes in pages, each of which names the next', async (t) => {
  const service = await openApp(t)
  const { app, clock, logIn } = service
  const { access } = await logIn()
  for (let login = 0; login < 4; login++) {
    clock.advance(login % 2)
    await logInAgain(service)
  }
  const list = async (query: string) => {
    const answer = await app.inject({ url: `/api/sessions/${query}`, headers: bearing(access) })
    return { status: answer.statusCode, ...answer.json() }
  }
  const all = await list('')
  t.equal(all.sessions.length, 5)
  t.equal(all.next, null)
  const paged = []
  let pages = 0
  for (let next: string | null = ''; next !== null; pages++) {
    const page = await list(`?limit=2${next && `&after=${next}`}`)
    paged.push(...page.sessions)
    next = page.next
  }
  t.equal(pages, 3)
  t.same(paged, all.sessions)
  for (const wrong of ['limit=0', 'limit=201', 'limit=x', 'limit=1&limit=2']) {
    t.match(await list(`?${wrong}`), { status: 400, limit: ['It must be a whole number from 1 to 200.'] }, wrong)
  }
  for (const wrong of ['after=x', 'after=', 'after=1&after=2']) t.match(await list(`?${wrong}`), { status: 400 }, wrong)
})

t.test('whatever ends a session ends its access tokens', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const { app, clock, logIn, post } = service
  const login = await logIn()
  t.equal((await post('/api/token/blacklist/', { refresh: login.refresh })).statusCode, 200)
  t.equal(await verdictOnceHeard(service, login.access), blacklisted, 'a logout')
  const answer = await app.inject({ url: '/api/sessions/', headers: bearing(login.access) })
  t.same(answer.json(), notValid('Token is blacklisted'))

  const stolen = await logInAgain(service)
  const next = (await post('/api/token/refresh/', { refresh: stolen.refresh })).json<Login>()
  clock.advance(11)
  t.equal((await post('/api/token/refresh/', { refresh: stolen.refresh })).statusCode, 401)
  for (const { access } of [stolen, next]) t.equal(await verdictOnceHeard(service, access), blacklisted, 'a reuse')

  const other = await logInAgain(service)
  t.equal((await post('/api/token/verify/', { token: other.access })).body, '{}', 'and no other')
})

t.test('a session is ended from the list, and only by its user', async (t) => {
  const service = await openApp(t)
  const { app, logIn } = service
  const here = await logIn()
  const there = await logInAgain(service)
  const stranger = await logIn('somebody else')
  const end = (path: string, access: string) =>
    app.inject({ method: 'DELETE', url: `/api/sessions/${path}`, headers: bearing(access) })
  t.equal((await end(`${sidOf(there.access)}/`, stranger.access)).statusCode, 404)
  t.equal((await end('nothing/', here.access)).statusCode, 404)
  const ended = await end(sidOf(there.access), here.access)
  t.equal(ended.statusCode, 204)
  t.equal(ended.body, '')
  t.equal(await verdictOnceHeard(service, there.access), blacklisted)
  t.equal((await end(sidOf(there.access), here.access)).statusCode, 404, 'once')
  t.equal((await service.post('/api/token/refresh/', { refresh: here.refresh })).statusCode, 200)
  t.equal((await end('x/', 'x')).statusCode, 401)
})

t.test('all sessions are ended, or all others', async (t) => {
  const service = await openApp(t)
  const { app, logIn } = service
  const stranger = await logIn('somebody else')
  const logins = [await logIn(), await logInAgain(service), await logInAgain(service)] as const
  const endAll = (query: string, access: string) =>
    app.inject({ method: 'DELETE', url: `/api/sessions/${query}`, headers: bearing(access) })
  const wrong = await endAll('?keep=nothing', logins[0].access)
  t.equal(wrong.statusCode, 400)
  t.same(Object.keys(wrong.json()), ['keep'])
  t.equal((await endAll('?keep=current', logins[0].access)).statusCode, 204)
  for (const { access } of logins.slice(1)) t.equal(await verdictOnceHeard(service, access), blacklisted)
  t.equal((await service.post('/api/token/verify/', { token: logins[0].access })).statusCode, 200)
  t.equal((await endAll('', logins[0].access)).statusCode, 204)
  t.equal(await verdictOnceHeard(service, logins[0].access), blacklisted)
  t.equal((await service.post('/api/token/verify/', { token: stranger.access })).statusCode, 200)
  t.equal((await endAll('', 'x')).statusCode, 401)
})

t.test('a new password', async (t) => {
  const service = await openApp(t)
  const { logIn, log, post } = service
  const here = await logIn()
  const there = await logInAgain(service)
  const change = (current_password: unknown, new_password: unknown, access = here.access) =>
    post('/api/password/', { current_password, new_password }, bearing(access))
  t.equal((await change(aPassword, 'another horse', 'x')).statusCode, 401)
  t.same((await post('/api/password/', {}, bearing(here.access))).json(), {
    current_password: ['This field is required.'],
    new_password: ['This field is required.']
  })
  t.same((await change('wrong horse', 'another horse')).json(), {
    current_password: ['This is not the current password.']
  })
  const tooShort = await change(aPassword, 'horse')
  t.equal(tooShort.statusCode, 400)
  t.same(Object.keys(tooShort.json()), ['new_password'])
  const changed = await change(aPassword, 'another horse')
  t.equal(changed.statusCode, 204)
  t.equal(changed.body, '')
  t.equal(await verdictOnceHeard(service, there.access), blacklisted, 'every other session is over')
  t.equal((await post('/api/token/refresh/', { refresh: here.refresh })).statusCode, 200)
  t.equal((await post('/api/token/', { username: 'vitor', password: aPassword })).statusCode, 401)
  t.equal((await post('/api/token/', { username: 'vitor', password: 'another horse' })).statusCode, 200)
  t.notOk(JSON.stringify(log).includes('horse'))

  const limited = await openApp(t, { RATE_LIMIT_OBTAIN: '3/h' })
  const { access } = await limited.logIn()
  const guess = () => limited.post('/api/password/', { current_password: 'x', new_password: 'y' }, bearing(access))
  t.same([(await guess()).statusCode, (await guess()).statusCode, (await guess()).statusCode], [400, 400, 429])
})

t.test('the log and the audit trail name the event, the user and the session', async (t) => {
  const service = await openApp(t)
  const { app, log, logIn, post } = service
  const { access, refresh, userId } = await logIn()
  await app.inject({ url: '/api/sessions/', headers: bearing(access) })
  const sid = sidOf(access)
  t.match(log.at(-1), { route: '/api/sessions', status: 200, user_id: userId, sid })
  await post('/api/token/refresh/', { refresh })
  await post('/api/token/refresh/', { refresh })
  await post('/api/token/', { username: 'vitor', password: 'wrong horse' })
  const elsewhere = await logInAgain(service)
  await app.inject({ method: 'DELETE', url: `/api/sessions/${sidOf(elsewhere.access)}/`, headers: bearing(access) })
  t.match(log.at(-1), { event: 'session_end', user_id: userId, sid: sidOf(elsewhere.access) })
  await app.inject({ method: 'DELETE', url: `/api/sessions/${sidOf(elsewhere.access)}/`, headers: bearing(access) })
  await app.inject({ method: 'DELETE', url: '/api/sessions/?keep=current', headers: bearing(access) })
  const trail = await app.stores.database.query(
    'SELECT event, result, user_id, sid, ip FROM keyturn_audit ORDER BY rowid'
  )
  t.same(trail, [
    { event: 'login', result: 'ok', user_id: userId, sid, ip: '127.0.0.1' },
    { event: 'refresh', result: 'retried', user_id: userId, sid, ip: '127.0.0.1' },
    { event: 'login', result: 'login_failed', user_id: userId, sid: null, ip: '127.0.0.1' },
    { event: 'login', result: 'ok', user_id: userId, sid: sidOf(elsewhere.access), ip: '127.0.0.1' },
    { event: 'session_end', result: 'ok', user_id: userId, sid: sidOf(elsewhere.access), ip: '127.0.0.1' },
    { event: 'session_end', result: 'ok', user_id: userId, sid: null, ip: '127.0.0.1' }
  ])
})

t.test('a failed login is refused as always when its audit entry cannot be written', async (t) => {
  const { app, addUser, log, post } = await openApp(t)
  await addUser('vitor', aPassword)
  t.intercept(app.stores.audit, 'add', { value: () => Promise.reject(new Error('disk full')) })
  t.equal((await post('/api/token/', { username: 'vitor', password: 'wrong' })).statusCode, 401)
  t.match(log.at(-1), {
    level: 50,
    msg: 'audit entry could not be written',
    event: 'login',
    err: { message: 'disk full' }
  })
})

t.test('metrics require METRICS_TOKEN, or a request from this host', async (t) => {
  const { app, log, logIn, post } = await openApp(t)
  const { refresh } = await logIn()
  for (let times = 0; times < 3; times++) await post('/api/token/refresh/', { refresh })
  const lines = log.length
  const ask = (remoteAddress: string, headers: Record<string, string> = {}) =>
    app.inject({ url: '/metrics', remoteAddress, headers })
  const answer = await ask('127.0.0.1')
  t.equal(answer.statusCode, 200)
  t.match(answer.headers['content-type'], /^text\/plain; version=/)
  t.match(answer.body, 'keyturn_logins_total{result="ok"} 1\n')
  t.match(answer.body, 'keyturn_refreshes_total{result="rotated"} 1\n')
  t.match(answer.body, 'keyturn_refreshes_total{result="retried"} 2\n')
  t.equal(log.length, lines, 'a scrape leaves no line')
  t.equal((await ask('::ffff:127.0.0.1')).statusCode, 200)
  t.equal((await ask('192.0.2.1')).statusCode, 404)
  t.equal((await ask('127.0.0.1', { 'x-forwarded-for': '127.0.0.1' })).statusCode, 404, 'a proxy on this host')

  const open = await openApp(t, { METRICS_TOKEN: 'scrape me' })
  const bear = async (authorization: string): Promise<number> =>
    (await open.app.inject({ url: '/metrics', remoteAddress: '192.0.2.1', headers: { authorization } })).statusCode
  t.equal(await bear('Bearer scrape me'), 200)
  t.equal(await bear('Bearer scrape you'), 404)
  t.equal((await open.app.inject('/metrics')).statusCode, 404, 'with a token, this host needs it too')
})

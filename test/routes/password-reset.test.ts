/* Passwords set with one-time tokens, and requests for such tokens, over HTTP. */
import t, { type Test } from 'tap'
import type { PasswordResetContext } from '../../src/hooks.ts'
import type { OneTimePurpose } from '../../src/one-time-tokens/token.ts'
import { migrate } from '../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { until } from '../conformance/feed.ts'
import { anOperator, auditEntries } from '../support/admin.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { aModule } from '../support/modules.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'

const wanted = 'staple under the bridge'
const spent = '400 {"detail":"This token is invalid, has expired, or was already used."}'

async function issue({ app }: TestApp, userId: string, purpose: OneTimePurpose = 'password_reset'): Promise<string> {
  return (await app.manage.oneTimeTokens.issue(anOperator, userId, { purpose })).token
}

async function reset({ post }: TestApp, token: string, new_password = wanted): Promise<string> {
  const answer = await post('/api/password/reset/', { token, new_password })
  return `${answer.statusCode} ${answer.body}`.trim()
}

const logIn = async ({ post }: TestApp, username: string, password: string): Promise<number> =>
  (await post('/api/token/', { username, password })).statusCode

t.test('reset: a token sets the password once, and every session of its user ends', async (t) => {
  const service = await openApp(t)
  const { userId, access, refresh } = await service.logIn()
  const other = await service.logIn('ann')
  const token = await issue(service, userId)
  t.equal(await reset(service, token), '204')
  t.match(service.log.at(-1), { event: 'password_reset', user_id: userId, status: 204 })
  t.equal(await reset(service, token), spent)
  t.equal((await service.post('/api/token/refresh/', { refresh })).statusCode, 401)
  t.equal((await service.post('/api/token/verify/', { token: access })).statusCode, 401)
  t.equal((await service.post('/api/token/verify/', { token: other.access })).statusCode, 200, "another user's")
  t.equal(await logIn(service, 'vitor', aPassword), 401)
  t.equal(await logIn(service, 'vitor', wanted), 200)
  await service.app.auditTrail.settled()
  const entries = await service.app.stores.audit.list(0, 100)
  t.match(
    entries.filter(({ event }) => event === 'password_reset'),
    [
      { result: 'ok', userId },
      { result: 'one_time_token_invalid', userId: undefined }
    ]
  )
  t.notMatch(JSON.stringify([entries, service.log]), token)
})

t.test('reset: of 100 requests with one token at once, one succeeds', async (t) => {
  const service = await openApp(t, { ARGON2_MEMORY: '8192' })
  const { id } = await service.addUser('vitor', aPassword)
  const token = await issue(service, id)
  const passwords = Array.from({ length: 100 }, (_, each) => `${wanted} ${each}`)
  const answers = await Promise.all(passwords.map((password) => reset(service, token, password)))
  const winners = passwords.filter((_, each) => answers[each] === '204')
  t.equal(winners.length, 1)
  t.same(
    [...new Set(answers.filter((answer) => answer !== '204'))].filter((answer) => !/^503 /.test(answer)),
    [spent],
    'the others are refused, by the queue of the hasher or because the token was used'
  )
  t.equal(await logIn(service, 'vitor', winners[0] ?? ''), 200)
})

t.test('reset: what is refused before the change does not use up the token', async (t) => {
  const service = await openApp(t)
  const { userId, refresh } = await service.logIn()
  const token = await issue(service, userId)
  const faults: readonly (readonly [password: string, message: string])[] = [
    ['short', 'The password is too short: at least 8 characters are needed.'],
    ['vitor2026!', 'The password is too similar to the username or to the name of the service.'],
    ['password1', 'The password is too common: many people use it.'],
    ['x'.repeat(1025), 'The password is too long: at most 1024 bytes are allowed.']
  ]
  for (const [password, message] of faults)
    t.equal(await reset(service, token, password), `400 ${JSON.stringify({ new_password: [message] })}`)
  t.equal(
    await reset(service, '', ''),
    '400 {"token":["This field may not be blank."],"new_password":["This field may not be blank."]}'
  )

  const { sessions } = service.app.stores
  const { revokeAll } = sessions
  Object.assign(sessions, { revokeAll: () => Promise.reject(new Error('a store that is down')) })
  t.match(await reset(service, token), /^500 /, 'sessions that cannot be ended')
  Object.assign(sessions, { revokeAll })
  t.equal((await service.post('/api/token/refresh/', { refresh })).statusCode, 200, 'nothing has changed')
  t.equal(await logIn(service, 'vitor', aPassword), 200)
  t.equal(await reset(service, token), '204')
})

t.test('reset: a token is refused once it has expired or was revoked', async (t) => {
  const service = await openApp(t)
  const { users } = service.app.stores
  const { userId, access } = await service.logIn()
  const cases: Readonly<Record<string, (token: string) => unknown>> = {
    'has expired': () => service.clock.advance(3600),
    'was replaced by a newer one': () => issue(service, userId),
    'was redeemed elsewhere': (token) => service.app.manage.oneTimeTokens.redeem(anOperator, token, 'password_reset'),
    'was issued under another password': async () =>
      users.setPassword(userId, await service.app.hasher.hash('another horse')),
    'was issued while the user was active': () => users.setActive(userId, false),
    'is one of a deleted user': () => users.delete(userId)
  }
  const changed = await issue(service, userId)
  const headers = { authorization: `Bearer ${access}` }
  const body = { current_password: aPassword, new_password: 'a third horse' }
  t.equal((await service.post('/api/password/', body, headers)).statusCode, 204)
  t.equal(await reset(service, changed), spent, 'a token from before a password change')
  for (const [name, act] of Object.entries(cases)) {
    const token = await issue(service, userId)
    await act(token)
    t.equal(await reset(service, token), spent, `a token that ${name}`)
  }
  for (const token of ['x', 'x'.repeat(4000), '\u00fc']) t.equal(await reset(service, token), spent)
})

t.test('reset: what changes while the password is hashed is honoured', async (t) => {
  const service = await openApp(t)
  const { users } = service.app.stores
  const { hash } = service.app.hasher
  const changes: Readonly<Record<string, (id: string) => Promise<unknown>>> = {
    deactivated: (id) => users.setActive(id, false),
    deleted: (id) => users.delete(id),
    'made an administrator': (id) => users.setClaims(id, { scope: 'keyturn.admin' }),
    'given another password': async (id) => users.setPassword(id, await hash('another horse'))
  }
  for (const [name, change] of Object.entries(changes)) {
    const { id } = await service.addUser(name, aPassword)
    const token = await issue(service, id)
    const interrupted = t.intercept(service.app.hasher, 'hash', {
      value: async (password: string) => {
        await change(id)
        return await hash(password)
      }
    })
    t.equal(await reset(service, token), spent, `a user who is ${name}`)
    interrupted.restore()
    await users.setActive(id, true)
    t.equal(await logIn(service, name, wanted), 401)
  }
})

t.test('reset: an invitation sets the first password, and a token for a verification sets none', async (t) => {
  const service = await openApp(t)
  const { id } = (await service.app.stores.users.create('ann', '!'))!
  const verify = await issue(service, id, 'verify')
  t.equal(await reset(service, verify), spent)
  t.same(
    await service.app.manage.oneTimeTokens.redeem(anOperator, verify, 'verify'),
    { userId: id },
    'it was not used up'
  )
  t.equal(await reset(service, await issue(service, id, 'invite')), '204')
  t.equal(await logIn(service, 'ann', wanted), 200)
})

t.test('a token is redeemed for its own purpose, once, while the user is unchanged', async (t) => {
  const service = await openApp(t)
  const { manage } = service.app
  const redeem = (token: string, purpose: OneTimePurpose) => manage.oneTimeTokens.redeem(anOperator, token, purpose)
  const { id } = await service.addUser('ann', aPassword)
  const invalid = { code: 'ONE_TIME_TOKEN_INVALID', status: 400 }
  const token = await issue(service, id, 'verify')
  await t.rejects(redeem(token, 'invite'), invalid)
  const settled = await Promise.allSettled(Array.from({ length: 100 }, () => redeem(token, 'verify')))
  t.same(
    settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])),
    [{ userId: id }]
  )
  const late = await issue(service, id, 'verify')
  await service.app.stores.users.setPassword(id, 'digest')
  await t.rejects(redeem(late, 'verify'), invalid)
  const revoked = await issue(service, id, 'verify')
  await manage.users.deactivate(anOperator, id)
  await manage.users.activate(anOperator, id)
  await t.rejects(redeem(revoked, 'verify'), invalid)
  await t.rejects(issue(service, 'unknown'), { code: 'NOT_FOUND' })
})

t.test('reset: counts as a login in the limit of its address', async (t) => {
  const service = await openApp(t, { RATE_LIMIT_OBTAIN: '2/m' })
  t.equal(await reset(service, 'x'), spent)
  await logIn(service, 'vitor', 'wrong')
  t.match(await reset(service, 'x'), /^429 /)
})

/** An application with the hook, and its calls. */
async function openForgetful(t: Test, env: Record<string, string> = {}) {
  const calls: [user: { id: string; username: string }, context: PasswordResetContext][] = []
  const steering = { onReset: (...call: (typeof calls)[number]): unknown => void calls.push(call) }
  Object.assign(globalThis, { steering })
  const module = aModule(t, 'export const onPasswordResetRequested = (...call) => globalThis.steering.onReset(...call)')
  const service = await openApp(t, { HOOKS_MODULE: module, ...env })
  const forgot = async (username: string, headers: Record<string, string> = {}): Promise<string> => {
    const answer = await service.post('/api/password/forgot/', { username }, headers)
    return `${answer.statusCode} ${answer.body}`
  }
  return { ...service, calls, steering, forgot, settled: () => service.app.flows.passwordForgotten?.settled() }
}

t.test('forgot: the hook gets a token that resets the password', async (t) => {
  const service = await openForgetful(t)
  const { id } = await service.addUser('vitor', aPassword)
  t.equal(await service.forgot('vitor', { 'user-agent': 'curl/8' }), '202 {}')
  t.match(service.log.at(-1), { event: 'password_reset_request', status: 202, user_id: undefined })
  await until(async () => service.calls.length > 0)
  const [[user, context]] = service.calls as [(typeof service.calls)[number]]
  t.same(user, { id, username: 'vitor', isActive: true, claims: {} })
  const { token, ...rest } = context
  t.same(rest, { expiresAt: service.clock() + 3600, ip: '127.0.0.1', userAgent: 'curl/8' })
  const [entry] = await service.app.stores.audit.list(0, 1)
  t.match(entry, { event: 'password_reset_request', result: 'ok', userId: id, ip: '127.0.0.1' }, 'before the hook')
  t.equal(await reset(service, token), '204')
  t.notMatch(JSON.stringify(service.log), token)
})

t.test('forgot: the answer is the same for every user, and only some may reset their password', async (t) => {
  const service = await openForgetful(t)
  const { users } = service.app.stores
  await service.addUser('vitor', aPassword)
  await service.addUser('inactive', aPassword).then(({ id }) => users.setActive(id, false))
  await users.create('invited', '!')
  await users.create('unverifiable', 'crypt$$x')
  for (const username of ['vitor', 'unknown', 'inactive', 'invited', 'unverifiable'])
    t.equal(await service.forgot(username), '202 {}', username)
  await until(async () => service.calls.length === 2)
  await service.settled()
  t.same(service.calls.map(([user]) => user.username).toSorted(), ['unverifiable', 'vitor'], 'at random times')
  const { audit } = service.app.stores
  const entries = (await audit.list(0, 100)).filter(({ event }) => event === 'password_reset_request')
  t.same(entries.map(({ result, userId }) => [result, userId !== undefined]).toSorted(), [
    ['not_sent', false],
    ['not_sent', true],
    ['not_sent', true],
    ['ok', true],
    ['ok', true]
  ])
  t.match(await service.forgot('x'.repeat(255)), /^400 .*no more than 254 characters/)
  t.match(await service.forgot(''), /^400 /)
})

t.test('forgot: a hook that fails or hangs changes no answer', async (t) => {
  const service = await openForgetful(t)
  await service.addUser('vitor', aPassword)
  service.steering.onReset = () => {
    throw new Error('no queue')
  }
  t.equal(await service.forgot('vitor'), '202 {}')
  await until(async () => service.log.some(({ hook }) => hook === 'onPasswordResetRequested'))
  service.steering.onReset = () => new Promise(() => {})
  t.equal(await service.forgot('vitor'), '202 {}')
})

t.test('forgot: a token without an entry in the audit trail is not sent', async (t) => {
  const service = await openForgetful(t)
  await service.addUser('vitor', aPassword)
  const { add } = service.app.stores.audit
  Object.assign(service.app.stores.audit, { add: () => Promise.reject(new Error('no audit trail')) })
  t.equal(await service.forgot('vitor'), '202 {}')
  await until(async () => service.log.some(({ msg }) => msg === 'password reset could not be sent'))
  Object.assign(service.app.stores.audit, { add })
  t.same(service.calls, [])
})

t.test('forgot: an account has a budget of its own, whether there is such a user or not', async (t) => {
  const service = await openForgetful(t)
  await service.addUser('vitor', aPassword)
  const fiveAndNoMore = [...new Array(5).fill('202 {}'), '429']
  for (const username of ['vitor', 'unknown']) {
    const answers = []
    for (let index = 0; index < 6; index++) answers.push((await service.forgot(username)).replace(/^429 .*/, '429'))
    t.same(answers, fiveAndNoMore, username)
  }
  t.equal(await logIn(service, 'vitor', aPassword), 200, 'logins are not limited by it')
  await until(async () => service.calls.length === 5)
})

t.test('forgot: a user has one budget, however the database folds the name', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t)
  const url = await server.createDatabase()
  const db = openPostgres(url)
  await migrate(db)
  await db.exclusively(({ script }) =>
    script(`CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
        ALTER TABLE keyturn_users ALTER username TYPE text COLLATE folded`)
  )
  await db.close()
  const KEY_ENCRYPTION_SECRET = 'a secret of the tests, long enough'
  const service = await openForgetful(t, { DATABASE_URL: url, KEY_ENCRYPTION_SECRET })
  await service.addUser('zoe', aPassword)
  for (let round = 0; round < 2; round++)
    for (const name of ['zoé', 'zöe', 'zòe', 'žoe', 'zoë']) t.equal(await service.forgot(name), '202 {}', name)
  await service.settled()
  t.equal(service.calls.length, 5, 'of ten requests')
  t.same(new Set(service.calls.map(([{ username }]) => username)), new Set(['zoe']))
})

t.test('forgot: an address has a budget, so that invented names take up no more room than it allows', async (t) => {
  const service = await openForgetful(t, { RATE_LIMIT_OBTAIN: 'off', LOGIN_FAILURES_ADDRESS: '3/h' })
  await service.addUser('vitor', aPassword)
  const forgotten = async (name: string) => (await service.forgot(name)).slice(0, 3)
  const answers = []
  for (let index = 0; index < 5; index++) answers.push(await forgotten(`invented-${index}`))
  t.same(answers, ['202', '202', '202', '429', '429'])
  t.equal(await logIn(service, 'vitor', 'wrong'), 401, 'logins have a budget of their own')
  t.equal(await logIn(service, 'vitor', aPassword), 200)
  t.equal(await forgotten('vitor'), '202', 'the user has logged in from this address')
  await until(async () => service.calls.length === 1)
  await service.settled()
  t.equal((await auditEntries(service, 'password_reset_request')).length, 4)
})

t.test('forgot: the entries of unknown names are omitted while the audit trail is behind', async (t) => {
  const service = await openForgetful(t)
  await service.addUser('vitor', aPassword)
  t.intercept(service.app.auditTrail, 'waiting', { value: () => 500 })
  for (const username of ['unknown', 'vitor']) t.equal(await service.forgot(username), '202 {}')
  await until(async () => service.calls.length === 1)
  await service.settled()
  t.match(await auditEntries(service, 'password_reset_request'), [{ result: 'ok' }])
  t.equal(service.app.tallies.auditShed, 1)
})

t.test('forgot: counts as a login in the limit of its address', async (t) => {
  const service = await openForgetful(t, { RATE_LIMIT_OBTAIN: '2/m' })
  t.equal(await service.forgot('a'), '202 {}')
  await logIn(service, 'vitor', 'wrong')
  t.match(await service.forgot('b'), /^429 /)
})

t.test('forgot: at most 100 requests are pending, and further ones are refused whatever their user', async (t) => {
  const service = await openForgetful(t, { LOGIN_BACKOFF: 'off' })
  await service.addUser('vitor', aPassword)
  let release = (): void => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let started = 0
  service.steering.onReset = () => {
    started += 1
    return released
  }
  const answers = await Promise.all(Array.from({ length: 100 }, () => service.forgot('vitor')))
  t.same([...new Set(answers)], ['202 {}'])
  for (const username of ['vitor', 'unknown']) t.match(await service.forgot(username), /^503 /, username)
  await until(async () => started === 100)
  release()
  await service.settled()
  t.equal(await service.forgot('unknown'), '202 {}')
})

t.test('forgot: the service waits for pending hooks when it stops', async (t) => {
  const service = await openForgetful(t)
  await service.addUser('vitor', aPassword)
  let isDone = false
  let release = (): void => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let hasStarted = false
  service.steering.onReset = async () => {
    hasStarted = true
    await released
    isDone = true
  }
  await service.forgot('vitor')
  await until(async () => hasStarted)
  const closed = service.app.close()
  setImmediate(release)
  await closed
  t.equal(isDone, true)
})

t.test('forgot: without the hook the endpoint does not exist', async (t) => {
  const service = await openApp(t)
  t.equal((await service.post('/api/password/forgot/', { username: 'vitor' })).statusCode, 404)
})

/* Custom functions at a login and a refresh: their arguments, the effect of their result, and their failures. */
import type { HooksModule } from '../../../src/hooks.ts'
import t, { type Test } from 'tap'
import { claimRules } from '../../../src/tokens/claims.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { makeHooks } from '../../../src/flows/hooks.ts'
import type { User } from '../../../src/users/user.ts'
import { aPassword, openApp, type TestApp } from '../../support/app.ts'
import { signShared } from '../../support/forger.ts'
import { aModule } from '../../support/modules.ts'

const steered = `
  const ask = (hook) => (...reported) => globalThis.hooks[hook]?.(...reported)
  export const claims = ask('claims')
  export const userAuthenticationRule = ask('userAuthenticationRule')
  export const onLoginSuccess = ask('onLoginSuccess')
  export const onLoginFailed = ask('onLoginFailed')
  export const onRefreshVerdict = ask('onRefreshVerdict')`

/** What the hooks of the application do, looked up at each call. */
type Steering = Partial<Record<keyof HooksModule, (...reported: unknown[]) => unknown>>

/** An application whose hooks call `hooks` of what comes back. */
async function openSteered(t: Test, env: Record<string, string> = {}): Promise<TestApp & { hooks: Steering }> {
  const hooks: Steering = { userAuthenticationRule: () => true }
  Object.assign(globalThis, { hooks })
  return { ...(await openApp(t, { HOOKS_MODULE: aModule(t, steered), ...env })), hooks }
}

const logIn = ({ post }: TestApp, username = 'vitor', password = aPassword, path = '/api/token/') =>
  post(path, { username, password }, { 'user-agent': 'curl/8' })

const fails: readonly (readonly [name: string, work: () => unknown])[] = [
  [
    'throws',
    () => {
      throw new Error('no connection')
    }
  ],
  ['rejects', () => Promise.reject('a text')],
  [
    'throws nothing',
    () => {
      throw undefined
    }
  ]
]

const loginFailed = '401 {"detail":"No active account found with the given credentials"}'
const gone = '401 {"detail":"No active account found for the given token."}'

t.test('the rule is asked of users whose password or token is right', async (t) => {
  const service = await openSteered(t)
  const asked: unknown[][] = []
  let answer: unknown = true
  service.hooks.userAuthenticationRule = (...reported) => {
    asked.push(reported)
    return answer
  }
  const { userId, access, refresh } = await service.logIn()
  t.same(asked, [[{ id: userId, username: 'vitor', isActive: true, claims: {} }]], 'never with the password hash')
  await logIn(service, 'unknown')
  await logIn(service, 'vitor', 'wrong horse')
  t.equal(asked.length, 1, 'a wrong password is wrong')

  answer = Promise.resolve(false)
  const login = await logIn(service)
  t.equal(`${login.statusCode} ${login.body}`, loginFailed)
  const refused = await service.post('/api/token/refresh/', { refresh })
  t.equal(`${refused.statusCode} ${refused.body}`, gone)
  const headers = { authorization: `Bearer ${access}` }
  t.equal((await service.app.inject({ url: '/api/sessions/', headers })).statusCode, 200, 'not asked at the resource')
  answer = true
  t.equal((await service.post('/api/token/refresh/', { refresh })).statusCode, 200, 'nothing was rotated')

  const times = asked.length
  await service.app.stores.users.setActive(userId, false)
  const inactive = await logIn(service)
  t.equal(`${inactive.statusCode} ${inactive.body}`, loginFailed)
  t.equal(asked.length, times, 'Keyturn: it cannot let in whom CHECK_USER_IS_ACTIVE refuses')
})

t.test('CHECK_USER_IS_ACTIVE=false leaves it to the rule', async (t) => {
  const service = await openSteered(t, { CHECK_USER_IS_ACTIVE: 'false' })
  const { userId } = await service.logIn()
  await service.app.stores.users.setActive(userId, false)
  t.equal((await logIn(service)).statusCode, 200)
  service.hooks.userAuthenticationRule = (user) => (user as User).isActive
  t.equal((await logIn(service)).statusCode, 401)
})

t.test('a rule without an answer refuses the login', async (t) => {
  const service = await openSteered(t)
  const { refresh } = await service.logIn()
  const noAnswers = ['yes', 1, undefined, null, {}].map((answer) => [`gives ${answer}`, () => answer] as const)
  for (const [name, work] of [...fails, ...noAnswers]) {
    service.hooks.userAuthenticationRule = work
    for (const answer of [await logIn(service), await service.post('/api/token/refresh/', { refresh })]) {
      t.equal(`${answer.statusCode} ${answer.body}`, '500 {"detail":"A server error occurred."}', name)
    }
    t.match(service.log.at(-1), { refusal: 'RULE_FAILED', status: 500 })
  }
  service.hooks.userAuthenticationRule = () => true
  t.equal((await service.post('/api/token/refresh/', { refresh })).statusCode, 200, 'the client kept its token')
})

t.test('login hooks are called', async (t) => {
  const service = await openSteered(t)
  const reported: unknown[][] = []
  service.hooks.onLoginSuccess = (...each) => void reported.push(['success', ...each])
  service.hooks.onLoginFailed = (...each) => void reported.push(['failed', ...each])
  const { userId, access } = await service.logIn()
  const { sid } = JSON.parse(Buffer.from(access.split('.')[1]!, 'base64url').toString())
  const user = { id: userId, username: 'vitor', isActive: true, claims: {} }
  t.same(reported, [['success', user, { sid, ip: '127.0.0.1', userAgent: 'lightMyRequest' }]])

  const device = { ip: '127.0.0.1', userAgent: 'curl/8' }
  const stars = '*'.repeat(20)
  reported.length = 0
  await logIn(service, 'unknown')
  await logIn(service, 'vitor', 'wrong horse')
  service.hooks.userAuthenticationRule = () => false
  await logIn(service)
  t.same(reported, [
    ['failed', { username: 'unknown', password: stars }, device],
    ['failed', { username: 'vitor', password: stars }, device],
    ['failed', { username: 'vitor', password: stars }, device]
  ])
  reported.length = 0
  await logIn(service, '')
  await logIn(service, 'vitor', 'x'.repeat(1025))
  service.hooks.userAuthenticationRule = () => 'no answer'
  await logIn(service)
  t.same(reported, [], 'no hook is called without a login or a result')
})

t.test('a failing login hook does not fail the login', async (t) => {
  const service = await openSteered(t)
  await service.logIn()
  for (const [name, work] of fails) {
    Object.assign(service.hooks, { onLoginSuccess: work, onLoginFailed: work })
    t.equal((await logIn(service)).statusCode, 200, name)
    const failures = () => service.log.filter(({ level }) => level === 50)
    t.match(failures().at(-1), { hook: 'onLoginSuccess', msg: /continued without it/ })
    const failed = await logIn(service, 'vitor', 'wrong horse')
    t.equal(`${failed.statusCode} ${failed.body}`, loginFailed)
    t.match(failures().at(-1), { hook: 'onLoginFailed' })
  }
  t.notMatch(JSON.stringify(service.log), /horse/)
})

t.test('onRefreshVerdict is called for late retries and reuse, and its failure changes no answer', async (t) => {
  const service = await openSteered(t)
  const calls: unknown[][] = []
  service.hooks.onRefreshVerdict = (...call) => {
    calls.push(call)
    throw new Error('no connection')
  }
  const { refresh, userId } = await service.logIn()
  const present = async (token: string) => {
    const answer = await service.post('/api/token/refresh/', { refresh: token }, { 'user-agent': 'curl/8' })
    return { status: answer.statusCode, refresh: answer.json().refresh as string }
  }
  const next = await present(refresh)
  t.equal((await present(refresh)).status, 200)
  t.same(calls, [], 'neither for a rotation nor for a retry within the grace')
  service.clock.advance(60)
  t.same(await present(refresh), next)
  t.equal((await present(next.refresh)).status, 200)
  service.clock.advance(60)
  t.equal((await present(refresh)).status, 401)
  const { sid } = JSON.parse(Buffer.from(refresh.split('.')[1]!, 'base64url').toString())
  const user = { id: userId, username: 'vitor', isActive: true, claims: {} }
  const device = { ip: '127.0.0.1', userAgent: 'curl/8' }
  t.same(calls, [
    [user, { sid, verdict: 'late', loginIp: '127.0.0.1', ...device }],
    [user, { sid, verdict: 'reused', loginIp: undefined, ...device }]
  ])
  t.match(
    service.log.filter(({ level }) => level === 50),
    [{ hook: 'onRefreshVerdict' }, { hook: 'onRefreshVerdict' }]
  )
})

t.test('a hook that never answers is waited for so long', async (t) => {
  const never = () => new Promise<never>(() => {})
  const failed: unknown[][] = []
  const hooks = makeHooks(
    {
      claims: never,
      userAuthenticationRule: never,
      onLoginSuccess: never,
      onLoginFailed: never,
      onRefreshVerdict: never
    },
    {
      rules: claimRules(loadConfig({})),
      checkUserIsActive: true,
      failed: (hook, error) => failed.push([hook, String(error)]),
      timeoutMs: 20
    }
  )
  const user = { id: '1', username: 'vitor', isActive: true, claims: {} } as User
  const device = { ip: '192.0.2.1', userAgent: '' }
  const late = 'Error: no result within 20 ms'
  await t.rejects(hooks.claims(user, { grant: 'login', sid: undefined }), {
    code: 'CLAIMS_FAILED',
    cause: { message: 'no result within 20 ms' }
  })
  await t.rejects(hooks.mayAuthenticate(user), { code: 'RULE_FAILED', cause: { message: 'no result within 20 ms' } })
  await hooks.onLoginSuccess(user, { sid: '2', ...device })
  await hooks.onLoginFailed({ username: 'vitor', password: 'x' }, device)
  await hooks.onRefreshVerdict(user, { sid: '2', verdict: 'late', loginIp: '192.0.2.1', ...device })
  t.same(failed, [
    ['onLoginSuccess', late],
    ['onLoginFailed', late],
    ['onRefreshVerdict', late]
  ])
})

t.test('login: what changes while a hook runs is honoured, and leaves no session behind', async (t) => {
  const service = await openSteered(t, { SLIDING_TOKENS: 'true' })
  const { users, sessions } = service.app.stores
  const changes = {
    deactivated: (id: string) => users.setActive(id, false),
    deleted: (id: string) => users.delete(id),
    'given another password': async (id: string) =>
      users.setPassword(id, await service.app.hasher.hash('another horse'))
  }
  const failed: unknown[] = []
  service.hooks.onLoginFailed = (credentials) => void failed.push(credentials)
  service.hooks.onLoginSuccess = () => t.fail('no login succeeds')
  const paths = ['/api/token/', '/api/token/sliding/']
  for (const path of paths)
    for (const [name, change] of Object.entries(changes)) {
      const { id } = await service.addUser(`${name} at ${path}`, aPassword)
      service.hooks.claims = () => change(id)
      const answer = await logIn(service, `${name} at ${path}`, aPassword, path)
      t.equal(`${answer.statusCode} ${answer.body}`, loginFailed, `a user who is ${name} at ${path}`)
      t.same(await sessions.list(id), [])
      t.match(service.log.at(-1), { refusal: 'LOGIN_FAILED', user_id: id })
    }
  t.equal(failed.length, paths.length * Object.keys(changes).length, 'each is reported as a failed login')
})

t.test('login: a digest replaced by one of the same password does not fail the login', async (t) => {
  const service = await openSteered(t)
  const { id } = await service.addUser('vitor', aPassword)
  let times = 0
  service.hooks.claims = async () => {
    times += 1
    await service.app.stores.users.setPassword(id, await service.app.hasher.hash(aPassword))
  }
  t.equal((await logIn(service)).statusCode, 200)
  t.equal(times, 1)
  t.equal((await service.app.stores.sessions.list(id)).length, 1)
})

t.test('refresh: what changes while a hook runs is honoured', async (t) => {
  const secret = 'a secret that SIGNING_KEY shares with the tests'
  const service = await openSteered(t, { SLIDING_TOKENS: 'true', SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on' })
  const { refresh, userId } = await service.logIn()
  const { users } = service.app.stores
  const { token } = (await service.post('/api/token/sliding/', { username: 'vitor', password: aPassword })).json()
  const adopted = signShared(secret, {
    token_type: 'refresh',
    exp: service.clock() + 86_400,
    iat: service.clock(),
    jti: 'of Simple JWT',
    user_id: userId
  })
  const renewals = [
    () => service.post('/api/token/refresh/', { refresh }),
    () => service.post('/api/token/sliding/refresh/', { token }),
    () => service.post('/api/token/refresh/', { refresh: adopted })
  ]
  for (const renew of renewals) {
    service.hooks.claims = () => users.setActive(userId, false)
    const refused = await renew()
    t.equal(`${refused.statusCode} ${refused.body}`, gone)
    await users.setActive(userId, true)
    let times = 0
    service.hooks.claims = async () => {
      times += 1
      await users.setPassword(userId, `digest ${times > 1 ? 2 : 1}`)
    }
    t.equal((await renew()).statusCode, 200, 'a change that refuses nothing')
    t.equal(times, 3, 'is judged again until nothing has changed')
  }
})

t.test('without hooks none is called', async (t) => {
  const failed = () => t.fail('nothing can fail')
  const hooks = makeHooks({}, { rules: claimRules(loadConfig({})), checkUserIsActive: true, failed })
  const user = { id: '1', username: 'vitor', isActive: true, claims: { team: 'blue' } } as unknown as User
  t.same(await hooks.claims(user, { grant: 'login', sid: undefined }), { team: 'blue' })
  t.equal(await hooks.mayAuthenticate(user), true)
  t.equal(await hooks.mayAuthenticate({ ...user, isActive: false }), false)
  await hooks.onLoginSuccess(user, { sid: '2', ip: '', userAgent: '' })
})

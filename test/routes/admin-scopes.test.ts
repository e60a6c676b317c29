/* Every management endpoint of the OpenAPI document refuses tokens without its scope, and requests without a valid token. */
import t from 'tap'
import { managementScopes } from '../../src/flows/management/act.ts'
import { callAs, clientToken, userToken } from '../support/admin.ts'
import { openApp, type TestApp } from '../support/app.ts'

interface Operation {
  readonly method: Parameters<ReturnType<typeof callAs>>[0]
  readonly url: string
  /** That its description names. */
  readonly scope: string
}

async function operationsOf({ app }: TestApp): Promise<readonly Operation[]> {
  const { paths } = (await app.inject('/openapi.json')).json()
  return Object.entries<Record<string, { description: string }>>(paths)
    .filter(([path]) => path.startsWith('/api/admin/'))
    .flatMap(([path, item]) =>
      Object.entries(item).map(([method, { description }]) => ({
        method: method.toUpperCase() as Operation['method'],
        url: path.replace(/\{\w+\}/g, 'x'),
        scope: /Scope: (\S+)\.$/.exec(description)?.[1] ?? ''
      }))
    )
}

t.test('who lacks the scope is refused with 403, and who proves nothing with 401', async (t) => {
  const service = await openApp(t)
  const operations = await operationsOf(service)
  t.ok(operations.length >= 15, `${operations.length} endpoints`)
  t.same([...new Set(operations.map(({ scope }) => scope))].includes(''), false, 'each names its scope')
  const expired = await clientToken(service, 'expired', 'keyturn.admin')
  service.clock.advance(3600)
  const without = await clientToken(service, 'without')
  const user = await userToken(service, 'user', 'profile')
  const others = {
    'keyturn.keys': await clientToken(service, 'of-keys', 'keyturn.keys'),
    'keyturn.clients': await clientToken(service, 'of-clients', 'keyturn.clients')
  }
  for (const { method, url, scope } of operations) {
    const title = `${method} ${url}`
    const other = others[scope === 'keyturn.keys' ? 'keyturn.clients' : 'keyturn.keys']
    const refusals = await Promise.all(
      [without, other, user, expired, undefined].map((token) => callAs(service, token)(method, url))
    )
    t.same(
      refusals.map(({ statusCode }) => statusCode),
      [403, 403, 403, 401, 401],
      title
    )
    t.match(refusals[0]?.headers['www-authenticate'], /error="insufficient_scope"/, title)
    t.match(refusals[4]?.headers['www-authenticate'], /^Bearer/, title)
  }
})

t.test('the authorization of a user reads the user and the session once each', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, await userToken(service, 'operator', 'keyturn.audit'))
  const { users, sessions } = service.app.stores
  const reads = [t.capture(users, 'findById', users.findById), t.capture(sessions, 'find', sessions.find)]
  t.equal((await call('GET', '/api/admin/audit/')).statusCode, 200)
  t.same(
    reads.map((read) => read().length),
    [1, 1]
  )
})

t.test('each endpoint admits the scope in its description and those that include it, and no other', async (t) => {
  const service = await openApp(t)
  const including: Readonly<Record<string, readonly string[]>> = { 'keyturn.users.read': ['keyturn.users'] }
  for (const own of managementScopes) {
    const call = callAs(service, await clientToken(service, own.replaceAll('.', '-'), own))
    for (const { method, url, scope } of await operationsOf(service)) {
      const isAdmitted = [scope, 'keyturn.admin', ...(including[scope] ?? [])].includes(own)
      const { statusCode } = await call(method, url)
      t.equal(statusCode !== 403, isAdmitted, `${method} ${url} with ${own}: ${statusCode}`)
    }
  }
})

t.test('every route below /api/admin/ checks a scope, in the document or not', async (t) => {
  const { app } = await openApp(t)
  // Fastify prints a tree: each route at its root with those below it.
  const printed = app.printRoutes({ includeHooks: true, commonPrefix: false })
  const management = printed.split(/^[├└]── /m).filter((route) => route.startsWith('/api/admin'))
  const hooks = management.flatMap((route) => route.match(/• \(onRequest\) .*/g) ?? [])
  t.ok(hooks.length >= 15, `${hooks.length} routes`)
  for (const each of hooks) t.ok(each.includes('"admit()"'), each)
})

t.test('failed authentications of one address are limited', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, 'not.a.token')
  const statuses: number[] = []
  for (let tries = 0; tries < 102; tries++) statuses.push((await call('GET', '/api/admin/users/')).statusCode)
  t.same([...new Set(statuses.slice(0, 100))], [401])
  t.same(statuses.slice(100), [429, 429])
})

t.test('a user has the scope now, and a session: a right signature is not enough', async (t) => {
  const service = await openApp(t)
  const { app, clock } = service
  const admin = await userToken(service, 'admin', 'keyturn.admin')
  const user = await userToken(service, 'user', 'profile')
  const statusOf = async (token: string): Promise<number> =>
    (await callAs(service, token)('GET', '/api/admin/users/')).statusCode
  t.equal(await statusOf(admin), 200)
  t.equal(await statusOf(user), 403)

  // As another holder of a shared SIGNING_KEY, or Simple JWT before a move, would sign them.
  const forge = (claims: object, more: object): string =>
    app.codec.sign('access', { ...claims, jti: '0'.repeat(32), exp: clock() + 300, ...more })
  const { sid: _, ...ofAdmin } = app.codec.read(admin)
  t.equal(await statusOf(forge(ofAdmin, {})), 401, 'without a session')
  const ofUser = app.codec.read(user)
  t.equal(await statusOf(forge(ofAdmin, { sid: ofUser.sid })), 401, 'with the session of another user')
  t.equal(await statusOf(forge(ofUser, { scope: 'keyturn.admin' })), 403, 'with a scope that the user does not have')

  await app.stores.users.setClaims(String(app.codec.read(admin).user_id), {})
  t.equal(await statusOf(admin), 403, 'the user has lost it')
})

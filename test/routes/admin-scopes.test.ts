/* Every management endpoint of the OpenAPI document refuses tokens without its scope, and requests without a valid token. */
import t from 'tap'
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

t.test('failed authentications of one address are limited', async (t) => {
  const service = await openApp(t)
  const call = callAs(service, 'not.a.token')
  const statuses: number[] = []
  for (let tries = 0; tries < 102; tries++) statuses.push((await call('GET', '/api/admin/users/')).statusCode)
  t.same([...new Set(statuses.slice(0, 100))], [401])
  t.same(statuses.slice(100), [429, 429])
})

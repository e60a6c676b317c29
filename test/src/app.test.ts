import { readFileSync } from 'node:fs'
import t from 'tap'
import { openApp } from '../support/app.ts'

/** The `onRequest` hook of each plugin that has one. */
const hookOf: Readonly<Record<string, string>> = {
  connections: 'countRequest',
  forwarded: 'readForwarded',
  requests: 'nameRequest',
  headers: 'setSecurityHeaders',
  cors: 'handleCors',
  protocol: 'checkProtocol',
  management: 'checkPort',
  negotiation: 'negotiate'
}

/** The `onRequest` hooks of the first route at each path and below it, as Fastify prints them, in the order in which they run. */
function readHooks(printed: string): readonly { readonly route: string; readonly hooks: readonly string[] }[] {
  let route = ''
  return printed.split('\n').flatMap((line) => {
    route = /([^\s│├└─]+ \([A-Z, -]+\))$/.exec(line)?.[1] ?? route
    const hooks = /• \(onRequest\) (\[.*\])$/.exec(line)?.[1]
    return hooks === undefined
      ? []
      : [{ route, hooks: (JSON.parse(hooks) as string[]).map((each) => each.slice(0, -2)) }]
  })
}

t.test('request hooks run in the order of app.ts, then as their route lists them, then its rate limit', async (t) => {
  const { app } = await openApp(t, {
    KEEPALIVE_REQUESTS: '9',
    MANAGEMENT_PORT: '0',
    CORS_ORIGINS: 'https://app.example',
    RATE_LIMIT_OBTAIN: '9/m',
    SLIDING_TOKENS: 'true'
  })
  const source = readFileSync(new URL('../../../src/app.ts', import.meta.url), 'utf8')
  const registered = [...source.matchAll(/register\((\w+)/g)].flatMap(([, plugin = '']) => hookOf[plugin] ?? [])
  t.equal(registered.length, Object.keys(hookOf).length, 'app.ts registers every plugin of the table')

  const routes = readHooks(app.printRoutes({ includeHooks: true, commonPrefix: false }))
  t.ok(routes.length > 20, `${routes.length} routes`)
  for (const { route, hooks } of routes) t.same(hooks.slice(0, registered.length), registered, route)

  const own = (wanted: string) => routes.find(({ route }) => route === wanted)?.hooks.slice(registered.length)
  t.same(own('/api/token (POST)'), ['refuseIfFull', 'guard', 'anonymous'])
  t.same(own('/sliding (POST)'), ['refuseIfFull', 'anonymous'])
  t.same(own('/api/password (POST)'), ['authenticate', 'anonymous'])
  t.same(own('/verify (POST)'), [], 'without a limit there is no hook')
})

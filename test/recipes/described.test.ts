/*
 * docs/recipes/traefik.md and envoy.md, which no package of Debian's can run: their configurations are read, and Keyturn is
 * asked as these proxies' documentation says that they ask.
 */
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { fillIn, type KnownKeyturn, readBlock, startKnownKeyturn } from '../support/recipes.ts'

const headersOf = (answer: Response): string[] =>
  [...answer.headers.keys()].filter((name) => name.startsWith('x-auth-'))

/** Asks with a good token, a bad one and none, in the way `ask` asks, and gives the headers that say who it is. */
async function asks(
  t: Test,
  keyturn: KnownKeyturn,
  ask: (headers: Record<string, string>) => Promise<Response>
): Promise<string[]> {
  const { access, expired, userId } = await keyturn.logIn()
  const passed = await ask({ authorization: `Bearer ${access}`, 'x-auth-user-id': '1' })
  t.equal(passed.status, 200)
  t.equal(passed.headers.get('x-auth-user-id'), userId)
  for (const headers of [{ authorization: `Bearer ${expired}` }, {}]) {
    const refused = await ask(headers as Record<string, string>)
    t.equal(refused.status, 401)
    t.match(refused.headers.get('www-authenticate'), /^Bearer/)
  }
  return headersOf(passed)
}

t.test('Traefik', async (t) => {
  const keyturn = await startKnownKeyturn(t)
  const places = { '127.0.0.1:8000': new URL(keyturn.url).host }
  const { http } = parse(fillIn(readBlock('traefik.md', 'app.yaml'), places))
  const { address, authResponseHeadersRegex } = http.middlewares[http.routers.app.middlewares[0]].forwardAuth
  t.ok(http.routers.app.service in http.services)
  const reported = await asks(t, keyturn, (headers) =>
    fetch(address, { headers: { 'X-Forwarded-Method': 'POST', 'X-Forwarded-Uri': '/orders?page=2', ...headers } })
  )
  // Go's names of headers begin each word with a capital.
  const inGo = reported.map((name) => name.replace(/(?<=^|-)./g, (letter) => letter.toUpperCase()))
  t.equal(inGo.filter((name) => new RegExp(authResponseHeadersRegex).test(name)).length, 5)

  const labels: string[] = parse(readBlock('traefik.md', 'compose.yaml')).services.app.labels
  t.ok(labels.some((label) => label.endsWith(`forwardauth.address=http://keyturn:8000${new URL(address).pathname}`)))
  t.ok(labels.some((label) => label.endsWith(`forwardauth.authResponseHeadersRegex=${authResponseHeadersRegex}`)))
})

t.test('Envoy', async (t) => {
  const keyturn = await startKnownKeyturn(t)
  const { listeners, clusters } = parse(readBlock('envoy.md', 'envoy.yaml')).static_resources
  const manager = listeners[0].filter_chains[0].filters[0].typed_config
  const [authorize, router] = manager.http_filters
  t.match(router.name, /router$/, 'the last one')
  const { http_service: service, failure_mode_allow } = authorize.typed_config
  t.equal(failure_mode_allow, false)
  const names = clusters.map(({ name }: { name: string }) => name)
  t.same(names, [service.server_uri.cluster, manager.route_config.virtual_hosts[0].routes[0].route.cluster])
  const reported = await asks(t, keyturn, (headers) =>
    fetch(`${keyturn.url}${service.path_prefix}/orders?page=2&scope=x`, { method: 'DELETE', headers })
  )
  const { patterns } = service.authorization_response.allowed_upstream_headers
  t.same(patterns.map(({ exact }: { exact: string }) => exact).toSorted(), reported.toSorted())
})

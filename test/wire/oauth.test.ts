/*
 * A certified client library that knows nothing of Keyturn, oauth4webapi, over HTTP: it finds the endpoints, introspects tokens, revokes
 * them, refreshes and gets its own. It only knows the issuer and its secret, and that there is no TLS here.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as oauth from 'oauth4webapi'
import t, { type Test } from 'tap'
import { openApp, type TestApp } from '../support/app.ts'
import { addClient } from '../support/client.ts'

const insecure = { [oauth.allowInsecureRequests]: true } as const

/** A service on the real time whose ISSUER is where it listens: the port is known before the application is made. */
async function openIssuer(t: Test, env: Record<string, string> = {}): Promise<TestApp & { readonly issuer: URL }> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const issuer = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const service = await openApp(t, { ISSUER: issuer.origin, ...env })
  service.clock.advance(Math.floor(Date.now() / 1000) - service.clock())
  server.on('request', (request, response) => service.app.routing(request, response))
  return { ...service, issuer }
}

async function discover(issuer: URL, algorithm: 'oauth2' | 'oidc' = 'oauth2'): Promise<oauth.AuthorizationServer> {
  const answer = await oauth.discoveryRequest(issuer, { algorithm, ...insecure })
  return await oauth.processDiscoveryResponse(issuer, answer)
}

t.test('discovery, by either name', async (t) => {
  const { issuer } = await openIssuer(t)
  const server = await discover(issuer)
  t.equal(server.issuer, issuer.origin)
  t.same(await discover(issuer, 'oidc'), server)
})

for (const [name, authentication] of [
  ['client_secret_basic', oauth.ClientSecretBasic],
  ['client_secret_post', oauth.ClientSecretPost]
] as const) {
  t.test(`everything a client does, by ${name}`, async (t) => {
    const service = await openIssuer(t)
    const server = await discover(service.issuer)
    t.ok(server.token_endpoint_auth_methods_supported?.includes(name))
    const { id: client_id, secret } = await addClient(service, 'my-service_1.x', ['orders.read', 'orders.write'])
    const [client, auth] = [{ client_id }, authentication(secret)]
    const { access, refresh, userId } = await service.logIn('vitor')
    const introspect = async (token: string) =>
      oauth.processIntrospectionResponse(
        server,
        client,
        await oauth.introspectionRequest(server, client, auth, token, insecure)
      )
    const revoke = async (token: string) =>
      oauth.processRevocationResponse(await oauth.revocationRequest(server, client, auth, token, insecure))

    const reported = await introspect(access)
    t.match(reported, { active: true, sub: userId, username: 'vitor', token_type: 'Bearer', iss: server.issuer })
    t.same(await introspect('no token at all'), { active: false })

    const refreshed = await oauth.processRefreshTokenResponse(
      server,
      client,
      await oauth.refreshTokenGrantRequest(server, client, auth, refresh, insecure)
    )
    t.match(refreshed, { token_type: 'bearer', expires_in: 300, refresh_token: String })
    t.match(await introspect(refreshed.access_token), { active: true })

    await revoke(refreshed.refresh_token ?? '')
    await revoke('no token at all')
    t.same(await introspect(refreshed.refresh_token ?? ''), { active: false })
    const late = await oauth.refreshTokenGrantRequest(server, client, auth, refresh, insecure)
    await t.rejects(oauth.processRefreshTokenResponse(server, client, late), {
      name: 'ResponseBodyError',
      error: 'invalid_grant',
      status: 400
    })

    const granted = await oauth.processClientCredentialsResponse(
      server,
      client,
      await oauth.clientCredentialsGrantRequest(server, client, auth, { scope: 'orders.read' }, insecure)
    )
    t.match(granted, { token_type: 'bearer', expires_in: 300, scope: 'orders.read' })
    t.match(await introspect(granted.access_token), { active: true, client_id, sub: client_id, scope: 'orders.read' })
    const beyond = await oauth.clientCredentialsGrantRequest(server, client, auth, { scope: 'admin' }, insecure)
    await t.rejects(oauth.processClientCredentialsResponse(server, client, beyond), {
      name: 'ResponseBodyError',
      error: 'invalid_scope'
    })

    const wrong = await oauth.introspectionRequest(server, client, authentication('wrong'), access, insecure)
    await t.rejects(oauth.processIntrospectionResponse(server, client, wrong), {
      name: 'WWWAuthenticateChallengeError',
      cause: [{ scheme: 'basic', parameters: { realm: 'api' } }]
    })
  })
}

t.test('access tokens of RFC 9068, of a user and of a client, by the keys it finds', async (t) => {
  const service = await openIssuer(t, { TOKEN_PROFILE: 'rfc9068', AUDIENCE: 'https://orders.example' })
  const server = await discover(service.issuer)
  const { id: client_id, secret } = await addClient(service, 'billing', ['orders.read'])
  const { access, refresh, userId } = await service.logIn()
  const validate = (token: string) =>
    oauth.validateJwtAccessToken(
      server,
      new Request('https://orders.example', { headers: { authorization: `Bearer ${token}` } }),
      'https://orders.example',
      insecure
    )
  t.match(await validate(access), { sub: userId, user_id: userId })
  const { access_token } = await oauth.processClientCredentialsResponse(
    server,
    { client_id },
    await oauth.clientCredentialsGrantRequest(server, { client_id }, oauth.ClientSecretBasic(secret), {}, insecure)
  )
  t.match(await validate(access_token), { sub: 'billing', client_id: 'billing', scope: 'orders.read' })
  await t.rejects(validate(refresh))
})

t.test('the metadata lists what is served, and nothing else', async (t) => {
  const service = await openIssuer(t)
  const { app, issuer } = service
  const metadata = (await app.inject('/.well-known/oauth-authorization-server')).json()
  t.same((await app.inject('/.well-known/openid-configuration')).json(), metadata)
  // The tree of routes, a line each, of those that take POST: "── /oauth/token (POST)".
  const served = [...app.printRoutes({ commonPrefix: false }).matchAll(/(\/oauth\/[^ ]+) \(([^)]*)\)/g)]
    .filter(([, , methods]) => methods?.split(', ').includes('POST'))
    .map(([, path]) => path)
  const listed = Object.entries(metadata)
    .filter(([name]) => name.endsWith('_endpoint'))
    .map(([, url]) => String(url).replace(issuer.origin, ''))
  t.equal(served.length, 3)
  t.same(listed.toSorted(), served.toSorted())
  t.equal(app.hasRoute({ method: 'GET', url: metadata.jwks_uri.replace(issuer.origin, '') }), true)

  const client = await addClient(service)
  for (const grant_type of ['refresh_token', 'client_credentials', 'password', 'authorization_code', 'implicit']) {
    const { error } = (await client.post('/oauth/token', { grant_type, refresh_token: 'x' })).json()
    const isServed = error !== 'unsupported_grant_type'
    t.equal(metadata.grant_types_supported.includes(grant_type), isServed, grant_type)
  }
})

/* Sliding tokens beyond Simple JWT: they belong to a session, are accepted at protected endpoints, and end with it. */
import { importSPKI, jwtVerify } from 'jose'
import t from 'tap'
import { KeyturnError } from '../../src/errors.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { decodePart, signShared } from '../support/forger.ts'
import { aModule } from '../support/modules.ts'

const claimsOf = (token: string): Record<string, unknown> => decodePart(token, 1)

const openSliding = (env: Record<string, string> = {}): Promise<TestApp> =>
  openApp(t, { SLIDING_TOKENS: 'true', ...env })

async function logIn({ addUser, post }: TestApp, username = 'vitor'): Promise<string> {
  await addUser(username, aPassword)
  return (await post('/api/token/sliding/', { username, password: aPassword })).json().token
}

const renew = ({ post }: TestApp, token: string) => post('/api/token/sliding/refresh/', { token })
const verify = async ({ post }: TestApp, token: string): Promise<number> =>
  (await post('/api/token/verify/', { token })).statusCode

const ask = ({ app }: TestApp, token: string, method: 'GET' | 'DELETE' = 'GET') =>
  app.inject({ method, url: '/api/sessions/', headers: { authorization: `Bearer ${token}` } })

t.test('a sliding token is accepted at protected endpoints, and its session is listed', async (t) => {
  const service = await openSliding()
  const token = await logIn(service)
  service.clock.advance(60)
  const later = (await renew(service, token)).json().token
  const answer = await ask(service, later)
  t.equal(answer.statusCode, 200)
  t.same(
    answer.json().sessions.map(({ ip: _, user_agent, ...session }: Record<string, unknown>) => session),
    [
      {
        id: claimsOf(token).sid,
        created_at: '2023-11-14T22:13:20Z',
        last_used_at: '2023-11-14T22:14:20Z',
        // A day for refreshes, and five minutes for the last token.
        expires_at: '2023-11-15T22:18:20Z',
        current: true
      }
    ]
  )
  const { access } = await service.logIn('pair')
  t.equal((await ask(service, access)).statusCode, 200, 'an access token does too')
  t.match(
    service.log.filter(({ route }) => route === '/api/token/sliding/refresh'),
    [{ event: 'refresh', verdict: 'current', sid: claimsOf(token).sid }]
  )
})

t.test('a refusal has a message for each kind of token', async (t) => {
  const service = await openSliding()
  const token = await logIn(service)
  const messages = async (token: string): Promise<unknown> => (await ask(service, token)).json().messages
  const both = (access: string, sliding: string) => [
    { token_class: 'AccessToken', token_type: 'access', message: access },
    { token_class: 'SlidingToken', token_type: 'sliding', message: sliding }
  ]
  t.same(await messages('x'), both('Token is invalid', 'Token is invalid'))
  const { refresh } = await service.logIn('pair')
  t.same(await messages(refresh), both('Token has wrong type', 'Token has wrong type'))
  service.clock.advance(300)
  t.same(await messages(token), both('Token is expired', 'Token is expired'))

  const off = await openApp(t)
  t.same((await ask(off, 'x')).json().messages.length, 1)
})

t.test('without SLIDING_TOKENS a sliding token is refused, and verify still validates it', async (t) => {
  const secret = 'a secret that SIGNING_KEY shares with the tests'
  const off = await openApp(t, { SIGNING_KEY: secret })
  const foreign = { token_type: 'sliding', exp: off.clock() + 60, jti: 'x', user_id: (await off.logIn()).userId }
  const token = signShared(secret, foreign)
  t.equal(await verify(off, token), 200)
  t.match((await ask(off, token)).json(), { messages: [{ message: 'Token has wrong type' }] })
  const on = await openSliding({ SIGNING_KEY: secret })
  const { userId } = await on.logIn()
  t.equal(
    (await ask(on, signShared(secret, { ...foreign, user_id: userId }))).statusCode,
    200,
    'of others, as access tokens'
  )
})

t.test('whatever ends its session ends it, for as long as it lives', async (t) => {
  const service = await openSliding({ SLIDING_TOKEN_LIFETIME: '12h' })
  const again = async (): Promise<string> =>
    (await service.post('/api/token/sliding/', { username: 'vitor', password: aPassword })).json().token
  const first = await logIn(service)
  const tokens = [first, (await renew(service, first)).json().token, await again()]
  const here = await again()
  const keep = {
    method: 'DELETE' as const,
    url: '/api/sessions/?keep=current',
    headers: { authorization: `Bearer ${here}` }
  }
  t.equal((await service.app.inject(keep)).statusCode, 204)
  for (const hours of [0, 11]) {
    // Beyond what a worker remembers of revocations: the store is asked.
    service.clock.advance(hours * 3600)
    for (const token of tokens) {
      t.equal(await verify(service, token), 400)
      t.equal((await renew(service, token)).statusCode, 401)
      const { messages } = (await ask(service, token)).json()
      t.match(messages, [{ message: 'Token has wrong type' }, { message: 'Token is blacklisted' }])
    }
    t.equal(await verify(service, here), 200)
  }
  t.equal((await ask(service, here, 'DELETE')).statusCode, 204)
  t.equal((await ask(service, here)).statusCode, 401, 'its own session too')

  const changed = await again()
  const headers = { authorization: `Bearer ${await again()}` }
  const change = { current_password: aPassword, new_password: 'another horse' }
  t.equal((await service.post('/api/password/', change, headers)).statusCode, 204)
  t.equal((await ask(service, changed)).statusCode, 401, 'a changed password')
})

t.test('SESSION_ABSOLUTE_LIFETIME is the end of all', async (t) => {
  const service = await openSliding({
    SLIDING_TOKEN_LIFETIME: '10m',
    SLIDING_TOKEN_REFRESH_LIFETIME: '15m',
    SESSION_ABSOLUTE_LIFETIME: '1h',
    REFRESH_TOKEN_LIFETIME: '1h',
    MAX_SESSIONS_PER_USER: '1'
  })
  const token = await logIn(service)
  service.clock.advance(599)
  const { exp, refresh_exp, iat } = claimsOf((await renew(service, token)).json().token)
  t.same([Number(exp) - Number(iat), refresh_exp], [600, claimsOf(token).refresh_exp])

  const short = await openSliding({
    SLIDING_TOKEN_LIFETIME: '10m',
    SLIDING_TOKEN_REFRESH_LIFETIME: '15m',
    SESSION_ABSOLUTE_LIFETIME: '15m',
    REFRESH_TOKEN_LIFETIME: '15m'
  })
  const early = await logIn(short)
  short.clock.advance(599)
  const last = (await renew(short, early)).json().token
  t.equal(claimsOf(last).exp, claimsOf(early).refresh_exp, 'no token is good beyond it')
})

t.test('one more login than MAX_SESSIONS_PER_USER, of whatever kind, ends the oldest', async (t) => {
  const service = await openSliding({ MAX_SESSIONS_PER_USER: '2' })
  const oldest = await logIn(service)
  service.clock.advance(1)
  const { refresh } = (await service.post('/api/token/', { username: 'vitor', password: aPassword })).json()
  t.equal(await verify(service, oldest), 200)
  service.clock.advance(1)
  await service.post('/api/token/sliding/', { username: 'vitor', password: aPassword })
  t.equal(await verify(service, oldest), 400)
  t.equal(await verify(service, refresh), 200)
})

t.test('services verify it as they do an access token, and find the same claims in it', async (t) => {
  const hooks = aModule(t, 'export const claims = (user, { grant }) => ({ name: user.username, grant })')
  const issuer = 'https://id.example.com'
  const service = await openSliding({ HOOKS_MODULE: hooks, ISSUER: issuer, AUDIENCE: 'shop', TOKEN_PROFILE: 'rfc9068' })
  const token = await logIn(service)
  const key = await importSPKI(service.app.keyring.keys().signing.publicText, 'ES256')
  const options = { issuer, audience: 'shop', typ: 'at+jwt', currentDate: new Date(service.clock() * 1000) }
  const { payload } = await jwtVerify(token, key, options)
  t.match(payload, { sub: claimsOf(token).user_id, client_id: 'keyturn', name: 'vitor', grant: 'login' })
  t.match(claimsOf((await renew(service, token)).json().token), { grant: 'refresh' }, 'claims are those of today')
})

t.test('a store that is down is a 503, never a yes', async (t) => {
  const service = await openSliding()
  const token = await logIn(service)
  const down = () => Promise.reject(new KeyturnError('STORE_DOWN', { retryAfter: 1 }))
  t.intercept(service.app.stores.sessions, 'find', { value: down })
  t.equal(await verify(service, token), 503)
  t.equal((await ask(service, token)).statusCode, 503)
})

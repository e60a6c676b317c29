/*
 * Refresh tokens that Simple JWT issued, shown to a Keyturn that has its SIGNING_KEY: each becomes a session, once.
 */
import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { SignJWT } from 'jose'
import t from 'tap'
import { aPassword, openApp, type TestApp } from '../support/app.ts'

const secret = 'a secret that SIGNING_KEY shares with the tests'
const adopting = { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'on' }
const blacklisted = { detail: 'Token is blacklisted', code: 'token_not_valid' }
const invalid = { detail: 'Token is invalid', code: 'token_not_valid' }

/** A refresh token as Simple JWT makes it. */
function foreignToken({ clock }: TestApp, userId: string | undefined, changes: object = {}): string {
  const claims = {
    token_type: 'refresh',
    exp: clock() + 86_400,
    iat: clock(),
    jti: randomBytes(16).toString('hex'),
    user_id: userId,
    ...changes
  }
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

const doorsOf = ({ post, app }: TestApp) => ({
  refresh: (refresh: string) => post('/api/token/refresh/', { refresh }),
  blacklist: (refresh: string) => post('/api/token/blacklist/', { refresh }),
  verify: (token: string) => post('/api/token/verify/', { token }),
  sessions: async (access: string): Promise<unknown[]> =>
    (await app.inject({ url: '/api/sessions/', headers: { authorization: `Bearer ${access}` } })).json().sessions,
  endSessions: (access: string) =>
    app.inject({ method: 'DELETE', url: '/api/sessions/', headers: { authorization: `Bearer ${access}` } })
})

t.test('twenty at once: one session, and one successor for all', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, sessions, verify, endSessions } = doorsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id)
  t.equal((await verify(token)).statusCode, 200, 'good before anybody used it')
  const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(token)))
  t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  t.equal(new Set(answers.map((answer) => answer.json().refresh)).size, 1)
  const { access, refresh: successor } = answers[0]!.json()
  t.equal((await sessions(access)).length, 1)
  t.equal((await verify(token)).statusCode, 200, 'within the grace')
  t.equal((await refresh(successor)).statusCode, 200, 'the line goes on')

  service.clock.advance(11)
  const late = await refresh(token)
  t.same([late.statusCode, late.json()], [401, blacklisted], 'shown again after the grace it is theft')
  let status = 200
  for (let tries = 0; tries < 50 && status === 200; tries++) {
    // The worker hears of it within milliseconds.
    await delay(20)
    status = (await verify(access)).statusCode
  }
  t.equal(status, 401)
  t.same((await refresh(token)).json(), blacklisted, 'and starts no second session')
  t.same((await verify(token)).json(), { non_field_errors: ['Token is blacklisted'] })

  const { access: another } = await service.logIn('other')
  t.equal((await endSessions(another)).statusCode, 204)
})

t.test('a logout with it', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, blacklist, verify } = doorsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id)
  t.same([(await blacklist(token)).statusCode, (await blacklist(token)).json()], [200, blacklisted])
  t.same((await refresh(token)).json(), blacklisted)
  t.equal((await verify(token)).statusCode, 400)
  const used = foreignToken(service, id)
  const { refresh: successor } = (await refresh(used)).json()
  t.equal((await blacklist(used)).statusCode, 200, 'by a client that lost the answer')
  t.same((await refresh(successor)).json(), blacklisted)
})

t.test('who may not come in by it', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, verify, endSessions } = doorsOf(service)
  const { userId, access } = await service.logIn('vitor')
  const before = foreignToken(service, userId)
  t.equal((await endSessions(access)).statusCode, 204)
  t.equal((await verify(before)).statusCode, 400)
  t.same((await refresh(before)).json(), blacklisted, 'all sessions were ended since it was issued')
  service.clock.advance(1)
  t.equal((await refresh(foreignToken(service, userId))).statusCode, 200, 'issued after that')
  t.same((await refresh(foreignToken(service, userId, { iat: undefined }))).json(), blacklisted, 'nobody knows when')

  t.same((await refresh(foreignToken(service, undefined))).json(), invalid, 'nobody')
  t.match((await refresh(foreignToken(service, 'nobody'))).json(), { detail: /^No active account/ })
  t.same((await refresh(foreignToken(service, userId, { gen: 0 }))).json(), invalid, 'a generation of its own choice')
  t.same((await refresh(foreignToken(service, userId, { sid: 'f'.repeat(32) }))).json(), invalid, 'a session likewise')
  await service.app.stores.users.setActive(userId, false)
  const token = foreignToken(service, userId)
  t.match((await refresh(token)).json(), { detail: /^No active account/ })
  await service.app.stores.users.setActive(userId, true)
  t.equal((await refresh(token)).statusCode, 200, 'a refusal costs it nothing')
})

t.test('a token that outlives its session is not adopted again', async (t) => {
  const service = await openApp(t, { ...adopting, REFRESH_TOKEN_LIFETIME: '1h', LEEWAY: '30s' })
  const { refresh } = doorsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id, { exp: service.clock() + 7200 })
  t.equal((await refresh(token)).statusCode, 200)
  service.clock.advance(3601)
  t.same((await refresh(token)).json(), blacklisted)
  service.clock.advance(3600 + 28)
  t.same((await refresh(token)).json(), blacklisted, 'its last second')
  const endless = foreignToken(service, id, { exp: 1e20 })
  t.equal((await refresh(endless)).statusCode, 200, 'no date is too far')
})

t.test('without rotation it stays the refresh token', async (t) => {
  const service = await openApp(t, { ...adopting, ROTATE_REFRESH_TOKENS: 'false' })
  const { refresh, verify } = doorsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const token = foreignToken(service, id)
  for (const _ of [1, 2]) {
    t.same(Object.keys((await refresh(token)).json()), ['access'])
    service.clock.advance(60)
  }
  t.equal((await verify(token)).statusCode, 200)
})

t.test('adoption is off unless ADOPT_REFRESH_TOKENS turns it on, and then verify refuses too', async (t) => {
  for (const env of [{}, { ADOPT_REFRESH_TOKENS: 'off' }]) {
    const closed = await openApp(t, { SIGNING_KEY: secret, ...env })
    const { refresh, blacklist, verify } = doorsOf(closed)
    const { id } = await closed.addUser('vitor', aPassword)
    for (const present of [refresh, blacklist, verify])
      t.same((await present(foreignToken(closed, id))).json(), invalid)
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  for (const [setting, status] of [
    ['on', 200],
    ['', 401]
  ] as const) {
    const service = await openApp(t, { SIGNING_KEY: pem, ALGORITHM: 'ES256', ADOPT_REFRESH_TOKENS: setting })
    const user = await service.addUser('vitor', aPassword)
    const signed = await new SignJWT({ token_type: 'refresh', jti: 'a', user_id: user.id, exp: service.clock() + 60 })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .sign(privateKey)
    t.equal((await doorsOf(service).refresh(signed)).statusCode, status, `a key pair, and "${setting}"`)
  }
})

t.test(
  'with an end, only tokens that say they were issued before it are adopted, and none once the last has expired',
  async (t) => {
    // The clock of the tests begins on 2023-11-14 at 22:13:20.
    const service = await openApp(t, { SIGNING_KEY: secret, ADOPT_REFRESH_TOKENS: 'until 2023-11-15' })
    const { refresh, verify, blacklist } = doorsOf(service)
    const { id } = await service.addUser('vitor', aPassword)
    const end = Date.parse('2023-11-16T00:00:00Z') / 1000
    t.equal((await refresh(foreignToken(service, id))).statusCode, 200)
    t.same((await refresh(foreignToken(service, id, { iat: undefined }))).json(), invalid, 'an unknown time of issue')
    service.clock.advance(end - service.clock())
    t.same((await refresh(foreignToken(service, id))).json(), invalid, 'issued in the first second after it')
    t.same((await verify(foreignToken(service, id))).json(), invalid)
    t.same((await blacklist(foreignToken(service, id))).json(), invalid)
    const exp = end + 10 * 86_400
    t.equal((await refresh(foreignToken(service, id, { iat: end - 1, exp }))).statusCode, 200)
    service.clock.advance(86_399)
    t.equal((await refresh(foreignToken(service, id, { iat: end - 1, exp }))).statusCode, 200)
    service.clock.advance(1)
    t.same((await refresh(foreignToken(service, id, { iat: end - 1, exp }))).json(), invalid, 'a forged iat')
  }
)

t.test('an iat that is not a time, or is in the future, is refused at refresh, blacklist and verify', async (t) => {
  const service = await openApp(t, adopting)
  const { refresh, verify, blacklist } = doorsOf(service)
  const { id } = await service.addUser('vitor', aPassword)
  const now = service.clock()
  for (const iat of ['1700000000', null, true, [now], now + 6, now + 86_400, 1e15]) {
    const token = foreignToken(service, id, { iat })
    for (const present of [refresh, blacklist, verify])
      t.same((await present(token)).json(), invalid, JSON.stringify(iat))
  }
  for (const iat of [now + 5, now - 0.5, undefined])
    t.equal((await refresh(foreignToken(service, id, { iat }))).statusCode, 200, JSON.stringify(iat))
})

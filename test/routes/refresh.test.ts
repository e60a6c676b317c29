/*
 * What Keyturn makes of refresh tokens over HTTP beyond Simple JWT: the grace for retries, reuse that ends a session, rotation
 * turned off. Each verdict also stands in the log.
 */
import t from 'tap'
import { openApp, type TestApp } from '../support/app.ts'
import { addClient } from '../support/client.ts'
import { decodePart } from '../support/forger.ts'

const blacklisted = { detail: 'Token is blacklisted', code: 'token_not_valid' }

interface Pair {
  readonly access: string
  readonly refresh: string
}

const presenter =
  ({ post }: TestApp) =>
  async (refresh: string): Promise<{ status: number } & Partial<Pair>> => {
    const answer = await post('/api/token/refresh/', { refresh })
    return { status: answer.statusCode, ...answer.json<Partial<Pair>>() }
  }

/** Presents a token that is expected to be good. */
const renewer =
  ({ post }: TestApp) =>
  async (refresh: string): Promise<Pair> => {
    const answer = await post('/api/token/refresh/', { refresh })
    return answer.statusCode === 200 ? answer.json<Pair>() : Promise.reject(new Error(answer.body))
  }

const verifier =
  ({ post }: TestApp) =>
  async (token: string): Promise<number> =>
    (await post('/api/token/verify/', { token })).statusCode

/** The verdicts in the log, in their order. */
const verdicts = ({ log }: TestApp): unknown[] =>
  log.filter(({ route }) => route === '/api/token/refresh').map(({ verdict }) => verdict)

t.test('a refresh presented again within the grace gets the very same successor', async (t) => {
  const service = await openApp(t)
  const [renew, verify] = [renewer(service), verifier(service)]
  const login = await service.logIn()
  const first = await renew(login.refresh)
  service.clock.advance(10)
  const again = await renew(login.refresh)
  t.equal(again.refresh, first.refresh, 'the last second of the grace')
  t.not(again.access, first.access, 'with an access token of its own')
  t.equal(await verify(again.access), 200)
  t.equal(await verify(first.refresh), 200, 'nothing advanced')
  t.equal(await verify(login.refresh), 200, 'which refresh takes')
  t.same(verdicts(service), ['rotated', 'retried'])
})

t.test('a refresh presented again after the grace ends the session', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const [present, verify] = [presenter(service), verifier(service)]
  const login = await service.logIn()
  const { refresh: newest = '' } = await present(login.refresh)
  service.clock.advance(11)
  t.same(await present(login.refresh), { status: 401, ...blacklisted })
  t.same(await present(newest), { status: 401, ...blacklisted }, 'the successor is dead too')
  t.same(await present(login.refresh), { status: 401, ...blacklisted })
  t.equal(await verify(newest), 400)
  t.same(verdicts(service), ['rotated', 'reused', 'unknown', 'unknown'])
  const reuse = service.log.find(({ verdict }) => verdict === 'reused')
  t.match(reuse, { refusal: 'TOKEN_REUSED', status: 401, user_id: login.userId, sid: /^[0-9a-f]{32}$/ })
})

/** A refresh token at each moment of interest, and whether refresh takes it then. */
const moments: readonly {
  readonly name: string
  readonly env?: Record<string, string>
  /** The token to ask about. */
  reach(service: TestApp, login: Pair): Promise<string>
  readonly isTaken: boolean
}[] = [
  { name: 'the newest of its session', reach: async (_, { refresh }) => refresh, isTaken: true },
  {
    name: 'superseded, in the last second of its grace',
    async reach(service, { refresh }) {
      await renewer(service)(refresh)
      service.clock.advance(10)
      return refresh
    },
    isTaken: true
  },
  {
    name: 'superseded an hour ago, its successor never presented',
    async reach(service, { refresh }) {
      await renewer(service)(refresh)
      service.clock.advance(3600)
      return refresh
    },
    isTaken: true
  },
  {
    name: 'superseded an hour ago, its successor presented',
    async reach(service, { refresh }) {
      const renew = renewer(service)
      await renew((await renew(refresh)).refresh)
      service.clock.advance(3600)
      return refresh
    },
    isTaken: false
  },
  {
    name: 'superseded by a burst, two generations back',
    async reach(service, { refresh }) {
      const renew = renewer(service)
      await renew((await renew(refresh)).refresh)
      return refresh
    },
    isTaken: true
  },
  {
    name: 'superseded, with REFRESH_REUSE_GRACE=0',
    env: { REFRESH_REUSE_GRACE: '0' },
    async reach(service, { refresh }) {
      await renewer(service)(refresh)
      return refresh
    },
    isTaken: false
  },
  {
    name: 'superseded an hour ago, with BLACKLIST_AFTER_ROTATION=false',
    env: { BLACKLIST_AFTER_ROTATION: 'false' },
    async reach(service, { refresh }) {
      await renewer(service)(refresh)
      service.clock.advance(3600)
      return refresh
    },
    isTaken: true
  },
  {
    name: 'presented before, with ROTATE_REFRESH_TOKENS=false',
    env: { ROTATE_REFRESH_TOKENS: 'false' },
    async reach(service, { refresh }) {
      await renewer(service)(refresh)
      return refresh
    },
    isTaken: true
  },
  {
    name: 'of a session that has ended',
    async reach(service, { refresh }) {
      await service.post('/api/token/blacklist/', { refresh })
      return refresh
    },
    isTaken: false
  }
]

t.test(
  'verify, verify batch and introspection: say of a refresh token what refresh answers, and change nothing',
  async (t) => {
    for (const { name, env, reach, isTaken } of moments) {
      const service = await openApp(t, env)
      const gateway = await addClient(service)
      const login = await service.logIn()
      const token = await reach(service, login)
      const before = await service.app.stores.sessions.list(login.userId)
      const batch = await service.post('/api/token/verify/batch/', { tokens: [token] })
      const introspection = await gateway.post('/oauth/introspect', { token })
      t.equal(await verifier(service)(token), isTaken ? 200 : 400, `verify: ${name}`)
      t.equal(batch.json().results[0].active, isTaken, 'verify batch')
      t.equal(introspection.json().active, isTaken, 'introspection')
      t.same(await service.app.stores.sessions.list(login.userId), before, 'the session is as before')
      t.equal((await presenter(service)(token)).status, isTaken ? 200 : 401, 'refresh')
    }
  }
)

t.test('verify: a refresh token that refresh would call a reuse is refused, and ends no session', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const { refresh: first } = await service.logIn()
  const { refresh: second } = await renewer(service)(first)
  service.clock.advance(11)
  t.equal(await verifier(service)(first), 400)
  t.equal((await presenter(service)(second)).status, 200)
})

t.test('a burst of refreshes does not log the user out, and a straggler gets the newest token', async (t) => {
  const service = await openApp(t)
  const renew = renewer(service)
  const { refresh: first } = await service.logIn()
  const { refresh: second } = await renew(first)
  service.clock.advance(5)
  const { refresh: third } = await renew(second)
  t.equal((await renew(first)).refresh, third, 'two generations back')
  service.clock.advance(5)
  t.equal((await renew(first)).refresh, third)
  t.equal((await renew(second)).refresh, third)
  service.clock.advance(1)
  t.equal((await presenter(service)(first)).status, 401, 'the burst is over')
})

t.test('the immediate predecessor has its whole grace, however long ago the burst began', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const renew = renewer(service)
  const { refresh: first } = await service.logIn()
  const { refresh: second } = await renew(first)
  service.clock.advance(6)
  const { refresh: third } = await renew(second)
  service.clock.advance(10)
  t.equal((await renew(second)).refresh, third, 'its last second')
  service.clock.advance(1)
  t.equal((await presenter(service)(second)).status, 401)
})

t.test('fifty refreshes of one token at once have one successor', async (t) => {
  const service = await openApp(t)
  const renew = renewer(service)
  const { refresh } = await service.logIn()
  const pairs = await Promise.all(Array.from({ length: 50 }, () => renew(refresh)))
  t.equal(new Set(pairs.map((pair) => pair.refresh)).size, 1)
  t.equal(new Set(pairs.map((pair) => pair.access)).size, 50)
  t.same(verdicts(service).toSorted(), [...Array(49).fill('retried'), 'rotated'])
  t.not((await renew(pairs[0]!.refresh)).refresh, pairs[0]!.refresh, 'and it is good')
})

t.test('REFRESH_REUSE_GRACE=0: a second time is a reuse', async (t) => {
  const service = await openApp(t, { REFRESH_REUSE_GRACE: '0' })
  const present = presenter(service)
  const { refresh } = await service.logIn()
  const { refresh: newest = '' } = await present(refresh)
  t.equal((await present(refresh)).status, 401)
  t.equal((await present(newest)).status, 401)
})

t.test('ROTATE_REFRESH_TOKENS=false: one refresh token for as long as it lives', async (t) => {
  const service = await openApp(t, { ROTATE_REFRESH_TOKENS: 'false', REFRESH_TOKEN_LIFETIME: '1h' })
  const { refresh } = await service.logIn()
  for (const seconds of [0, 1000, 1000]) {
    service.clock.advance(seconds)
    const { body } = await service.post('/api/token/refresh/', { refresh })
    t.match(body, /^{"access":"[^"]+"}$/, 'an access token alone')
    t.equal(await verifier(service)(refresh), 200)
  }
  t.same(verdicts(service), ['current', 'current', 'current'])
  service.clock.advance(1600)
  t.match(await presenter(service)(refresh), { status: 401, detail: 'Token is expired' }, 'a refresh does not renew it')
})

t.test('BLACKLIST_AFTER_ROTATION=false: a rotated token stays good until it expires', async (t) => {
  const service = await openApp(t, { BLACKLIST_AFTER_ROTATION: 'false', REFRESH_TOKEN_LIFETIME: '1h' })
  const [renew, verify] = [renewer(service), verifier(service)]
  const { refresh: first } = await service.logIn()
  const { refresh: second } = await renew(first)
  service.clock.advance(3000)
  t.equal(await verify(first), 200)
  t.equal((await renew(first)).refresh, second, 'and leads to the newest')
  const { refresh: third } = await renew(second)
  t.not(third, second)
  service.clock.advance(600)
  t.equal((await presenter(service)(first)).status, 401, 'expired')
  t.equal((await service.post('/api/token/blacklist/', { refresh: second })).statusCode, 401, 'expired too')
  t.equal((await service.post('/api/token/blacklist/', { refresh: third })).statusCode, 200)
  t.equal(await verify(third), 400, 'a logout counts all the same')
})

t.test('a logout ends the session it belongs to, and no other', async (t) => {
  const service = await openApp(t)
  const [present, verify] = [presenter(service), verifier(service)]
  const phone = await service.logIn('vitor')
  const laptop = (await service.post('/api/token/', { username: 'vitor', password: 'correct horse' })).json<Pair>()
  const { refresh: newest = '' } = await present(phone.refresh)
  const logout = await service.post('/api/token/blacklist/', { refresh: newest })
  t.equal(logout.statusCode, 200)
  t.equal(logout.body, '{}')
  t.match(service.log.at(-1), { route: '/api/token/blacklist', status: 200, user_id: phone.userId, sid: String })
  for (const token of [phone.refresh, newest]) {
    t.equal((await present(token)).status, 401)
    t.equal(await verify(token), 400)
  }
  t.equal((await present(laptop.refresh)).status, 200)
})

t.test('a user deactivated in between loses no session by it', async (t) => {
  const service = await openApp(t)
  const present = presenter(service)
  const { refresh, userId } = await service.logIn()
  await service.app.stores.users.setActive(userId, false)
  t.same(await present(refresh), { status: 401, detail: 'No active account found for the given token.' })
  t.match(service.log.at(-1), { refusal: 'USER_GONE', status: 401 })
  service.clock.advance(3600)
  await service.app.stores.users.setActive(userId, true)
  t.equal((await present(refresh)).status, 200)
})

t.test('MAX_SESSIONS_PER_USER: a login beyond it ends the oldest session', async (t) => {
  const service = await openApp(t, { MAX_SESSIONS_PER_USER: '2' })
  const { refresh: oldest } = await service.logIn('vitor')
  const again = async (): Promise<Pair> => {
    service.clock.advance(1)
    return (await service.post('/api/token/', { username: 'vitor', password: 'correct horse' })).json<Pair>()
  }
  const { refresh: second } = await again()
  t.equal(await verifier(service)(oldest), 200)
  const { refresh: third } = await again()
  t.equal(await verifier(service)(oldest), 400)
  for (const refresh of [second, third]) t.equal((await presenter(service)(refresh)).status, 200)
})

t.test('an access token never outlives its session', async (t) => {
  const service = await openApp(t, { SESSION_ABSOLUTE_LIFETIME: '1h', REFRESH_TOKEN_LIFETIME: '1h' })
  const { clock, logIn, post } = service
  const began = clock()
  const { access, refresh } = await logIn()
  t.equal(decodePart(access, 1).exp, began + 300)
  clock.advance(3500)
  const next = (await post('/api/token/refresh/', { refresh })).json<Pair>()
  t.equal(decodePart(next.access, 1).exp, began + 3600)
  const client = await addClient(service)
  const answer = await client.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: next.refresh })
  t.match(answer.json(), { expires_in: 100 }, 'and a client hears how long it is')
})

t.test('refresh: a client that lost an answer is answered an hour later, and verify says so before', async (t) => {
  const service = await openApp(t)
  const { clock, logIn, post } = service
  const { refresh } = await logIn()
  const lost = await presenter(service)(refresh)
  clock.advance(3600)
  t.equal((await post('/api/token/verify/', { token: refresh })).statusCode, 200)
  const again = await presenter(service)(refresh)
  t.match(again, { status: 200, refresh: lost.refresh })
  t.equal((await presenter(service)(again.refresh ?? '')).status, 200)
  clock.advance(60)
  t.equal((await post('/api/token/verify/', { token: refresh })).statusCode, 400)
  t.equal((await presenter(service)(refresh)).status, 401, 'once the successor has been presented it is theft')
  t.same(verdicts(service), ['rotated', 'late', 'rotated', 'reused'])
  const trail = await service.app.stores.database.query(
    "SELECT result, ip, object FROM keyturn_audit WHERE event = 'late_retry'"
  )
  t.same(trail, [{ result: 'ok', ip: '127.0.0.1', object: '127.0.0.1' }])
  t.match(await (await service.app.metrics()).metrics(), 'keyturn_refreshes_total{result="late"} 1')
  t.match(
    service.log.find(({ verdict }) => verdict === 'late'),
    { status: 200, login_ip: '127.0.0.1' }
  )
})

t.test('REFRESH_LATE_RETRY=0: a superseded token presented after the grace ends the session', async (t) => {
  const service = await openApp(t, { REFRESH_LATE_RETRY: '0' })
  const { refresh } = await service.logIn()
  t.equal((await presenter(service)(refresh)).status, 200)
  service.clock.advance(11)
  t.equal((await presenter(service)(refresh)).status, 401)
})

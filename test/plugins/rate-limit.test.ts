/* Rate limits where Redis counts them: together, and when it does not answer. Without one: test/plugins/requests.test.ts. */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { addClient, basic, postForm } from '../support/client.ts'
import { aPassword, openApp, type TestApp } from '../support/app.ts'
import { needsRedis } from '../support/needs.ts'
import { until } from '../conformance/feed.ts'
import { makeNames } from '../../src/stores/redis/names.ts'

if (process.env.TEST_REDIS_URL) {
  t.plan(0, 'it needs a server of its own')
  process.exit()
}
const server = await needsRedis(t, { tcp: true, own: true })
const redis = new Redis(server.options)
t.teardown(() => redis.disconnect())

const verify = '/api/token/verify/'
const introspect = '/oauth/introspect'
const forgetCounts = async () => {
  const keys = await redis.keys('keyturn:count:*')
  if (keys.length > 0) await redis.del(keys)
}

/** Two workers, on the same Redis. */
async function openTwo(t: Test, env: Record<string, string>): Promise<readonly [TestApp, TestApp]> {
  await forgetCounts()
  return [await openApp(t, { REDIS_URL: server.url, ...env }), await openApp(t, { REDIS_URL: server.url, ...env })]
}

const from = async ({ app }: TestApp, remoteAddress: string, url = '/api/token/', headers = {}) => {
  const { statusCode } = await app.inject({ method: 'POST', url, remoteAddress, headers })
  return statusCode
}

/** The commands that Redis receives during `work`, by name; not those inside a script, and not those of the feed's readers. */
async function commandsOf(work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> {
  const { feed, epoch } = makeNames()
  const calls: Record<string, number> = {}
  const monitor = await redis.monitor()
  const ended = new Promise<void>((resolve) =>
    monitor.on('monitor', (_time: string, args: string[], source: string) => {
      const [name = ''] = args
      if (name === 'echo') resolve()
      else if (source !== 'lua' && !args.includes(feed) && !args.includes(epoch)) calls[name] = (calls[name] ?? 0) + 1
    })
  )
  await work()
  await redis.echo('end')
  await ended
  monitor.disconnect()
  return calls
}

t.test('workers count together', async (t) => {
  const [one, other] = await openTwo(t, { RATE_LIMIT_OBTAIN: '3/m', RATE_LIMIT_VERIFY: '2/h' })
  t.same([await from(one, '192.0.2.1'), await from(other, '192.0.2.1'), await from(one, '192.0.2.1')], [400, 400, 400])
  const answer = await other.post('/api/token/', {}, { 'x-forwarded-for': '192.0.2.1' })
  t.equal(answer.statusCode, 429)
  const seconds = Number(/(\d+) seconds/.exec(answer.body)?.[1])
  t.ok(seconds > 55 && seconds <= 60)
  const retryAfter = Number(answer.headers['retry-after'])
  t.ok(retryAfter >= seconds && retryAfter <= seconds + 4, 'clients are spread over a few seconds more')
  t.equal(answer.body, `{"detail":"Request was throttled. Expected available in ${seconds} seconds."}`)
  t.match(answer.headers, { 'ratelimit-policy': '"obtain";q=3;w=60', ratelimit: `"obtain";r=0;t=${seconds}` })
  t.equal(await from(one, '192.0.2.2'), 400, 'another address')
  t.equal(await from(one, '192.0.2.1', verify), 400, 'another limit')
  t.same(await redis.keys('keyturn:count:*192.0.2.1').then((keys) => keys.toSorted()), [
    'keyturn:count:obtain:192.0.2.1',
    'keyturn:count:verify:192.0.2.1'
  ])
  const left = await redis.pttl('keyturn:count:verify:192.0.2.1')
  t.ok(left > 3_500_000 && left <= 3_600_000, 'a counter goes with its window')
})

t.test('an IPv6 client is its /64, and an IPv4 one itself in IPv6 notation too', async (t) => {
  const [one] = await openTwo(t, { RATE_LIMIT_OBTAIN: '1/h' })
  t.equal(await from(one, '2001:db8:1:2::1'), 400)
  t.equal(await from(one, '2001:DB8:1:2:ffff:ffff:ffff:ffff'), 429)
  t.equal(await from(one, '2001:db8:1:3::1'), 400)
  t.equal(await from(one, '198.51.100.7'), 400)
  t.equal(await from(one, '::ffff:198.51.100.7'), 429)
  t.equal(await from(one, '::ffff:c633:6407'), 429)
  t.equal(await from(one, '::ffff:198.51.100.8'), 400, 'not all of ::/64')
  t.equal(await from(one, 'fe80::1%eth0'), 400)
})

t.test('one command a request, none for one that is refused, none where there is no limit', async (t) => {
  const [one, other] = await openTwo(t, { RATE_LIMIT_REFRESH: '2/m' })
  const refresh = (service: TestApp) => from(service, '192.0.2.1', '/api/token/refresh/')
  // A worker sends the script whole once.
  for (const service of [one, other]) await from(service, '192.0.2.2', '/api/token/refresh/')
  await refresh(one)
  t.same(await commandsOf(() => refresh(one)), { evalsha: 1 })
  t.same(await commandsOf(() => refresh(other)), { evalsha: 1 }, 'this worker did not know')
  t.same(await commandsOf(() => refresh(other)), {})
  t.same(await commandsOf(() => from(one, '192.0.2.1', verify)), {}, 'RATE_LIMIT_VERIFY is off')
  t.equal(await from(one, '192.0.2.1', verify), 400)
})

t.test('RATE_LIMIT_ALLOW', async (t) => {
  const [one] = await openTwo(t, { RATE_LIMIT_OBTAIN: '1/h', RATE_LIMIT_ALLOW: '192.0.2.0/24, 2001:db8::/32' })
  for (const address of ['192.0.2.9', '::ffff:192.0.2.9', '2001:db8::9']) {
    for (let each = 0; each < 3; each++) t.equal(await from(one, address), 400, address)
  }
  const free = await one.app.inject({ method: 'POST', url: '/api/token/', remoteAddress: '192.0.2.9' })
  t.notOk('ratelimit' in free.headers)
  t.same(await redis.keys('keyturn:count:*'), [])
  t.same([await from(one, '198.51.100.1'), await from(one, '198.51.100.1')], [400, 429])
  const claimed = { 'x-forwarded-for': '192.0.2.9' }
  t.equal(await from(one, '198.51.100.1', '/api/token/', claimed), 429, 'by who it is, not by what it says')
  for (let each = 0; each < 12; each++) {
    const answer = await one.app.inject({
      ...{ method: 'POST', url: introspect, remoteAddress: '192.0.2.9' },
      headers: { authorization: basic('unknown', 'guess'), 'content-type': 'application/x-www-form-urlencoded' },
      payload: 'token=x'
    })
    t.equal(answer.statusCode, 401, 'a client that cannot authenticate too')
  }
})

t.test('failed authentications of a client are counted together', async (t) => {
  const [one, other] = await openTwo(t, {})
  const gateway = await addClient(one)
  await other.app.stores.clients.create('gateway', (await one.app.stores.clients.list())[0]?.secretHash ?? '', [])
  await other.app.clients.update()
  const ask = async (service: TestApp, authorization: string) =>
    (await postForm(service, introspect, { token: 'x' }, { authorization })).statusCode
  t.same(await commandsOf(() => ask(one, gateway.authorization)), {}, 'who proves itself costs no command')
  const guess = basic('gateway', 'guess')
  for (let each = 0; each < 5; each++) t.same([await ask(one, guess), await ask(other, guess)], [401, 401])
  t.equal(await ask(one, guess), 429, 'the eleventh')
  t.equal(await ask(one, gateway.authorization), 429, 'not even looked at')
  t.equal(await ask(other, gateway.authorization), 429)
})

t.test('client ids of its own choice give an address 100 failures a minute, and no more counters', async (t) => {
  const fail = async (service: TestApp, id: string, remoteAddress = '192.0.2.1') => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', authorization: basic(id, 'guess') }
    return (await service.app.inject({ method: 'POST', url: introspect, remoteAddress, headers, payload: 'token=x' }))
      .statusCode
  }
  const alone = await openApp(t)
  const statuses = []
  for (let each = 0; each < 110; each++) statuses.push(await fail(alone, `client-${each}`))
  t.same(statuses, [...Array(100).fill(401), ...Array(10).fill(429)])
  t.equal(await fail(alone, 'client-0', '192.0.2.2'), 401, 'another address has a limit of its own')

  const workers = await openTwo(t, {})
  const limited = new Set<TestApp>()
  for (let each = 0; limited.size < 2; each++) {
    const worker = workers[each % 2] as TestApp
    if ((await fail(worker, `client-${each}`)) === 429) limited.add(worker)
  }
  const { length } = await redis.keys('keyturn:count:*')
  t.ok(length > 1 && length <= 101, `${length} counters: that of the address, and one of each id within its limit`)
})

t.test('usernames of its own choice leave an address no budgets behind once its own is spent', async (t) => {
  const [one] = await openTwo(t, { LOGIN_FAILURES_ADDRESS: '3/h', LOGIN_FAILURES_ALL: 'off' })
  const statuses = []
  for (let each = 0; each < 30; each++) {
    const body = { username: `user-${each}`, password: 'wrong' }
    statuses.push((await one.post('/api/token/', body)).statusCode)
  }
  t.same(statuses, [...Array(3).fill(401), ...Array(27).fill(429)])
  const { length } = await redis.keys('keyturn:guesses:*')
  t.ok(
    length >= 7 && length < 15,
    `${length} budgets: of three names, of the users that they matched or not, and of the address`
  )
})

t.test(
  'while Redis hangs logins are closed, verify is open and waits for it once a second, and then it counts again',
  async (t) => {
    const [one] = await openTwo(t, { RATE_LIMIT_OBTAIN: '50/m', RATE_LIMIT_VERIFY: '50/m', RATE_LIMIT_REFRESH: '50/m' })
    const { access } = await one.logIn()
    await server.kill('SIGSTOP')
    const checks = [1, 2, 3].map(() => one.app.stores.check())
    const slow: number[] = []
    for (let each = 0; each < 20; each++) {
      const began = performance.now()
      t.equal((await one.post(verify, { token: access })).statusCode, 200)
      slow.push(performance.now() - began)
    }
    t.comment(`verify took ${slow.map(Math.round).join(', ')} ms`)
    const login = await one.post('/api/token/', { username: 'vitor', password: aPassword })
    t.equal(login.statusCode, 503)
    t.match(login.headers['retry-after'], /^[1-5]$/)
    t.equal(login.body, '{"detail":"Service temporarily unavailable."}')
    t.match(one.log.at(-1), { status: 503, refusal: 'STORE_DOWN' })
    t.equal((await one.post('/api/token/refresh/', {})).statusCode, 400, 'refresh is open')

    const logged = (text: string) => one.log.filter(({ msg }) => msg === text)
    await Promise.all(checks)
    t.match(logged('circuit open; next probe in 1 s'), [{ store: 'Redis', level: 40, err: { message: /timed out/ } }])

    await server.kill('SIGCONT')
    const isWell = async () => (await one.post('/api/token/', {})).statusCode === 400
    await until(isWell)
    t.pass('logins are counted again')
    await until(async () => {
      await one.app.stores.check()
      return logged('circuit closed').length > 0
    }, 20_000)
    t.match(logged('circuit closed'), [{ store: 'Redis', level: 30 }])
  }
)

t.test('RATE_LIMIT_FAIL_CLOSED', async (t) => {
  const limits = { RATE_LIMIT_OBTAIN: '2/m', RATE_LIMIT_VERIFY: '2/m' }
  const [open] = await openTwo(t, { ...limits, RATE_LIMIT_FAIL_CLOSED: 'none' })
  const [closed] = await openTwo(t, { ...limits, RATE_LIMIT_FAIL_CLOSED: 'obtain,verify' })
  t.equal(await from(open, '192.0.2.1'), 400)
  await server.kill()
  t.same([await from(open, '192.0.2.1'), await from(open, '192.0.2.1')], [400, 429], 'the worker counts alone')
  t.same([await from(closed, '192.0.2.1'), await from(closed, '192.0.2.1', verify)], [503, 503])
  t.equal(open.log.filter(({ msg }) => /^Redis does not count/.test(String(msg))).length, 1, 'logged once')
})

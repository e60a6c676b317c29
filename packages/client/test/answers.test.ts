/* What each response means: outages and limits (R5), pages of captive portals and proxies (R6), and what each call reports. */
import t from 'tap'
import { InvalidCredentials, Rejected, Throttled, Unavailable } from '../src/index.ts'
import * as rules from '../src/rules.ts'
import { aLoggedInTab, expired, get, only, refreshOnly, reply } from './support.ts'
import { type Fate, makeToken, World } from './world.ts'

t.test('R5: outages, limits, proxies and captive portals keep the tokens', async (t) => {
  const fates: Fate[] = [
    reply(503),
    reply(429),
    reply(500, { detail: 'A server error occurred.' }),
    reply(401),
    reply(401, 'Authorization required'),
    reply(403, { detail: 'CSRF' }),
    reply(404),
    reply(200, 'Welcome to our WLAN'),
    { lost: 'request' },
    { lost: 'answer' }
  ]
  for (const fate of fates) {
    const { world, tab } = await aLoggedInTab()
    await world.pass(expired)
    world.fate = refreshOnly(fate)
    const call = get(tab)
    await world.pass(31_000)
    t.ok(call.outcome instanceof Unavailable || call.outcome instanceof Rejected, JSON.stringify(fate))
    t.equal(tab.client.state, 'loggedIn')
    world.fate = () => ({})
    const later = get(tab)
    await world.pass(10_000)
    t.equal(later.outcome, 'resolved')
  }
})

/** What a captive portal or a proxy answers in place of the service: pages, and JSON that is not the service's. */
const strangeAnswers: readonly Fate[] = [
  ...[200, 204, 400, 401, 403, 404, 511].map((status) => reply(status)),
  ...[200, 400, 401, 403, 404].map((status) => reply(status, '<title>Welcome to our WLAN</title>')),
  reply(401, { error: 'login required' }),
  ...[null, 5, 'text', [], {}, { access: null }, { access: 5, refresh: 'r' }, { access: {}, refresh: 'r' }].map(
    (body) => reply(200, JSON.stringify(body))
  ),
  ...[null, 5, {}].map((refresh) => reply(200, { access: makeToken({ gen: 0 }), refresh }))
].map((fate) => (fate.instead?.status === 204 ? { instead: { status: 204 } } : fate))

t.test('R6: a login takes no page of a captive portal for an answer, and keeps the session', async (t) => {
  for (const fate of strangeAnswers) {
    const { world, tab } = await aLoggedInTab()
    const { stored } = world
    world.fate = only('/api/token/', fate)
    const login = tab.call('login', (client) => client.login('vitor', 'correct horse'))
    await world.pass(1000)
    t.equal((login.outcome as Error).name, 'Unavailable', JSON.stringify(fate))
    t.equal(tab.client.state, 'loggedIn')
    t.equal(world.stored, stored)
  }
})

t.test('R6: a refresh takes no page of a captive portal for an answer, and keeps the session', async (t) => {
  for (const fate of strangeAnswers) {
    const { world, tab } = await aLoggedInTab()
    const { stored } = world
    await world.pass(expired)
    world.fate = refreshOnly(fate)
    const call = get(tab)
    await world.pass(31_000)
    t.equal((call.outcome as Error).name, 'Unavailable', JSON.stringify(fate))
    t.equal(tab.client.state, 'loggedIn')
    t.equal(world.stored, stored)
    world.fate = () => ({})
    const later = get(tab)
    await world.pass(10_000)
    t.equal(later.outcome, 'resolved')
  }
})

t.test('R6: other calls take no page of a captive portal for an answer', async (t) => {
  for (const fate of strangeAnswers) {
    const { world, tab } = await aLoggedInTab()
    world.fate = (sent) => (sent.path.startsWith('/api/token/') ? {} : fate)
    const calls = [
      tab.call('list', (client) => client.sessions.list()),
      tab.call('end', (client) => client.sessions.end('s0')),
      tab.call('endOthers', (client) => client.sessions.endOthers()),
      tab.call('password', (client) => client.changePassword('old', 'new'))
    ].slice(0, fate.instead?.status === 204 ? 1 : 4)
    await world.pass(1000)
    for (const { name, outcome } of calls)
      t.equal((outcome as Error).name, 'Unavailable', `${name} ${JSON.stringify(fate)}`)
    t.equal(tab.client.state, 'loggedIn')
  }
})

t.test('R5: a lost answer is retried within the grace', async (t) => {
  const { world, tab } = await aLoggedInTab()
  await world.pass(expired)
  let count = 0
  world.fate = (sent) => (sent.path.includes('refresh') && count++ < 1 ? { lost: 'answer' } : {})
  const call = get(tab)
  await world.pass(10_000)
  t.equal(call.outcome, 'resolved')
  t.same(world.service.verdicts, ['rotated', 'retried'])
})

t.test('R5: Retry-After is respected, and more than a call can wait is reported at once', async (t) => {
  const { world, tab } = await aLoggedInTab()
  await world.pass(expired)
  world.fate = refreshOnly(reply(503, undefined, { 'retry-after': '7' }))
  get(tab)
  await world.pass(6900)
  t.equal(world.refreshes().length, 1)
  await world.pass(2000)
  t.equal(world.refreshes().length, 2)
  await world.pass(60_000)
  world.fate = refreshOnly(reply(429, undefined, { 'retry-after': '60' }))
  const call = get(tab)
  await world.pass(1000)
  t.ok(call.outcome instanceof Throttled && call.outcome.retryAfter === 60)
  const before = world.refreshes().length
  world.fate = () => ({})
  const second = get(tab)
  await world.pass(50_000)
  t.ok(second.outcome instanceof Throttled, 'no request is made meanwhile')
  t.equal(world.refreshes().length, before)
  await world.pass(11_000)
  const third = get(tab)
  await world.pass(1000)
  t.equal(third.outcome, 'resolved')
})

t.test('R5: no Retry-After makes the client wait for more than a day, or not at all', async (t) => {
  const day = 86_400
  for (const [text, retryAfter] of [
    ['2147484', day],
    ['9'.repeat(400), day],
    ['Infinity', day],
    ['1e999', day],
    ['-8', undefined],
    ['-Infinity', undefined],
    ['NaN', undefined],
    ['soon', undefined],
    ['Fri, 31 Dec 9999 23:59:59 GMT', undefined],
    ['Thu, 01 Jan 1970 00:00:00 GMT', undefined]
  ] as const) {
    const { world, tab } = await aLoggedInTab()
    await world.pass(expired)
    world.fate = refreshOnly(reply(503, undefined, { 'retry-after': text }))
    const call = get(tab)
    await world.pass(31_000)
    t.ok(call.outcome instanceof Unavailable, text)
    t.equal((call.outcome as Unavailable).retryAfter, retryAfter, text)
    t.ok(world.refreshes().length <= 12, `${text}: ${world.refreshes().length} requests in 31 s`)
    world.fate = () => ({})
    await world.pass(retryAfter === undefined ? 0 : 1000 * day)
    const later = get(tab)
    await world.pass(10_000)
    t.equal(later.outcome, 'resolved', text)
  }
})

t.test('R5: backoff grows, with jitter, up to 12 seconds', async (t) => {
  t.same(
    [0, 1, 2, 9].map((attempt) => rules.waitAfter(attempt, undefined, 0)),
    [0.125, 0.25, 0.5, 4]
  )
  t.equal(rules.waitAfter(9, undefined, 1), 12)
  t.same(
    [0, 1].map((random) => rules.waitAfter(0, 8, random)),
    [8, 10]
  )
})

t.test('R7: neither a proxy nor a captive portal confirms a logout', async (t) => {
  for (const page of [
    reply(200, 'Welcome to our WLAN'),
    reply(401, 'Authorization required'),
    reply(401, { error: 'login required' })
  ]) {
    const { world, tab } = await aLoggedInTab()
    world.fate = () => page
    const logout = tab.call('logout', (client) => client.logout())
    await world.pass(5000)
    t.equal(logout.outcome, undefined)
    t.equal(world.stored?.ended, 1)
    world.fate = () => ({})
    await world.pass(20_000)
    t.equal(logout.outcome, 'resolved')
    t.equal(world.service.sessions.get('s0')?.endedBy, 'logout')
  }
})

t.test('a login reports wrong passwords, limits and outages', async (t) => {
  const cases = [
    [{}, InvalidCredentials],
    [reply(429, undefined, { 'retry-after': '5' }), Throttled],
    [reply(503), Unavailable],
    [reply(400, { username: ['too long'] }), Rejected],
    [{ lost: 'answer' }, Unavailable]
  ] as const
  for (const [fate, expected] of cases) {
    const world = new World()
    const tab = world.openTab()
    world.fate = () => fate
    const call = tab.call('login', (client) => client.login('vitor', 'wrong'))
    await world.pass(31_000)
    t.ok(call.outcome instanceof expected, expected.name)
    t.equal((call.outcome as Error).name, expected.name)
  }
})

t.test('sessions and passwords', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const page = { sessions: [], next: null }
  const answer = (fate: Fate) => {
    world.fate = (sent) => (sent.path.startsWith('/api/token/') ? {} : fate)
  }
  answer(reply(200, page))
  const list = tab.client.sessions.list('1764000000-0a1b')
  await world.pass(100)
  t.same(await list, page)
  answer({ instead: { status: 204 } })
  const done = Promise.all([
    tab.client.sessions.end('s0'),
    tab.client.sessions.endOthers(),
    tab.client.changePassword('old', 'new')
  ])
  await world.pass(100)
  await done
  t.same(world.sent.at(-1)?.body, { current_password: 'old', new_password: 'new' })
  for (const [body, expected] of [
    [{ current_password: ['This is not the current password.'] }, InvalidCredentials],
    [{ new_password: ['too short'] }, Rejected]
  ] as const) {
    answer(reply(400, body))
    const call = tab.call('password', (client) => client.changePassword('old', 'new'))
    await world.pass(100)
    t.ok(call.outcome instanceof expected)
    if (call.outcome instanceof Rejected) t.same(call.outcome.body, body)
  }
})

/* One test for each rule (R1 to R9) of the state machine in src/client.ts, on a virtual clock and network. */
import { runInNewContext } from 'node:vm'
import t from 'tap'
import {
  type ClientOptions,
  createClient,
  InvalidCredentials,
  LoggedOut,
  Rejected,
  Throttled,
  Unavailable
} from '../src/index.ts'
import * as rules from '../src/rules.ts'
import type { Session } from '../src/session.ts'
import { accessLifetime, type Fate, makeToken, readToken, type Tab, World } from './world.ts'

const api = 'https://api.example/orders'
const due = accessLifetime * 1000 * 0.95
const expired = accessLifetime * 1000 + 1000
const get = (tab: Tab) => tab.call('fetch', (client) => client.fetch(api))

async function logIn(world: World, tab: Tab): Promise<void> {
  const call = tab.call('login', (client) => client.login('vitor', 'correct horse'))
  await world.pass(1000)
  if (call.outcome !== 'resolved') throw call.outcome
}

async function aLoggedInTab(options: ConstructorParameters<typeof Tab>[1] = {}) {
  const world = new World()
  const tab = world.openTab(options)
  await logIn(world, tab)
  return { world, tab }
}

const only = (path: string, fate: Fate) => (sent: { readonly path: string }) => (sent.path === path ? fate : {})
const refreshOnly = (fate: Fate) => only('/api/token/refresh/', fate)
const reply = (status: number, body?: unknown, headers: Record<string, string> = {}): Fate => ({
  instead: { status, body, headers }
})

t.test('R1: twenty calls with an expired token make one refresh', async (t) => {
  const { world, tab } = await aLoggedInTab()
  await world.pass(expired)
  const calls = Array.from({ length: 20 }, () => get(tab))
  await world.pass(1000)
  t.ok(calls.every(({ outcome }) => outcome === 'resolved'))
  t.equal(world.refreshes().length, 1)
})

t.test('R2: a tab presents the newest token that another tab has saved, and none if that is enough', async (t) => {
  const { world, tab: first } = await aLoggedInTab()
  const second = world.openTab()
  await second.client.getAccessToken()
  second.freeze()
  await world.pass(expired)
  get(first)
  await world.pass(1000)
  second.thaw()
  const call = get(second)
  await world.pass(1000)
  t.equal(call.outcome, 'resolved')
  t.equal(world.refreshes().length, 1, 'the other tab has refreshed')
  await world.pass(expired)
  get(second)
  await world.pass(1000)
  t.equal(readToken(world.refreshes()[1]?.body.refresh ?? '').gen, 1)
})

t.test('R2: a tab that waits for another attempt makes none if another tab has refreshed meanwhile', async (t) => {
  const { world, tab: patient } = await aLoggedInTab()
  const other = world.openTab()
  await other.client.getAccessToken()
  await world.pass(expired)
  world.fate = (sent) => (sent.tab === patient ? reply(503, undefined, { 'retry-after': '7' }) : {})
  const call = get(patient)
  await world.pass(100)
  get(other)
  await world.pass(100)
  world.fate = () => ({})
  await world.pass(10_000)
  t.equal(call.outcome, 'resolved')
  t.same(
    world.refreshes().map(({ tab }) => tab === patient),
    [true, false]
  )
})

t.test('R2: a tab that was frozen while it read an asynchronous storage reads it again', async (t) => {
  const world = new World('atomic')
  const tab = world.openTab()
  const other = world.openTab()
  await logIn(world, tab)
  await world.pass(expired)
  const late = get(tab)
  await world.pass(0)
  tab.freeze()
  for (let count = 0; count < 3; count++) {
    const call = get(other)
    await world.pass(expired)
    t.equal(call.outcome, 'resolved')
  }
  t.equal(readToken(world.stored?.refresh ?? '').gen, 3)
  // The answer of the storage is there before the news of the other tab.
  tab.thaw()
  await world.pass(1000)
  const call = get(tab)
  await world.pass(2000)
  t.notOk(world.service.verdicts.includes('reused'))
  t.equal(call.outcome, 'resolved')
  t.ok(late.outcome !== undefined)
})

t.test('R2: a storage that cannot be read is not a logout', async (t) => {
  const world = new World()
  let isLocked = true
  const tab = world.openTab({}, (storage) => ({
    ...storage,
    load: async () => {
      if (isLocked) throw new Error('the keychain is locked')
      return storage.load()
    }
  }))
  await t.rejects(tab.client.getAccessToken(), Unavailable)
  t.same(tab.events, [])
  isLocked = false
  await logIn(world, tab)
  t.match(await tab.client.getAccessToken(), /^eyJ/)
})

t.test('R3: a late answer does not overwrite newer tokens', async (t) => {
  const { world, tab: slow } = await aLoggedInTab({ timeoutMs: 600_000 })
  const fast = world.openTab()
  await fast.client.getAccessToken()
  await world.pass(expired)
  world.fate = (sent) => (sent.tab === slow ? { back: 3900 } : {})
  get(slow)
  await world.pass(100)
  for (let gen = 1; gen <= 3; gen++) {
    const token = fast.client.getAccessToken(world.stored?.access)
    await world.pass(200)
    await token
  }
  const newest = world.stored?.refresh ?? ''
  t.ok(Number(readToken(newest).gen) >= 2)
  await world.pass(4000)
  t.equal(world.stored?.refresh, newest)
})

t.test('R3: of two tabs that save at the same moment none saves an older session over a newer one', async (t) => {
  for (const [login, refresh] of [
    [20, 19],
    [20, 20],
    [19, 20]
  ] as const) {
    const { world, tab } = await aLoggedInTab()
    const other = world.openTab()
    await other.client.getAccessToken()
    await world.pass(expired)
    world.fate = (sent) => ({ back: sent.tab === tab ? login : refresh })
    tab.call('login', (client) => client.login('vitor', 'correct horse'))
    get(other)
    await world.pass(1000)
    t.equal(readToken(world.stored?.refresh ?? '').sid, 's1')
    const saved = world.history as Session[]
    t.notOk(saved.some((each, index) => index > 0 && rules.isNewer(saved[index - 1] as Session, each)))
  }
})

t.test('R3: a storage with promises of another class is compared before it is overwritten', async (t) => {
  const saved: Session[] = []
  // As with Angular's zones, which replace the class while async functions return promises of the original one.
  const later = <T>(value: T) => runInNewContext('async (value) => value')(value) as Promise<T>
  const world = new World()
  let stored: Session | undefined
  const tab = world.openTab({}, () => ({
    load: () => later(stored),
    save: (session) => {
      saved.push(session)
    }
  }))
  await logIn(world, tab)
  stored = { ...(saved[0] as Session), step: 7, refresh: makeToken({ sid: 's0', gen: 7 }) }
  const token = tab.client.getAccessToken(saved[0]?.access)
  await world.pass(1000)
  await token
  t.same(
    saved.map(({ refresh }) => readToken(refresh ?? '').gen),
    [0],
    'the one in the storage is newer'
  )
})

t.test('R4: a token is refreshed early, at a random time from 70 % to 90 % of its lifetime', async (t) => {
  const session = { since: 1, ended: 0, step: 0, at: 0, access: makeToken({ iat: 0, exp: 100 }) } as const
  t.same(
    [0, 69, 100, 150].map((s) => rules.ageOf(session, s * 1000)),
    [0, 0.69, 1, 1.5]
  )
  const isDue = (age: number) => [0, 0.5, 1].map((random) => rules.isDue(age, random))
  t.same(isDue(0.69), [false, false, false])
  t.same(isDue(0.8), [true, true, false])
  t.same(isDue(0.9), [true, true, true])
  t.ok(rules.isDue(rules.ageOf(session, -1), 1), 'the clock was set back')
  t.equal(rules.ageOf({ ...session, access: 'opaque' }, 1e9), 0, 'a token that cannot be read')
})

t.test('R4: an early refresh delays no call, and an outage does not matter yet', async (t) => {
  const { world, tab } = await aLoggedInTab()
  await world.pass(due)
  world.fate = refreshOnly(reply(503))
  const call = get(tab)
  await world.pass(100)
  t.equal(call.outcome, 'resolved')
  t.equal(world.refreshes().length, 1)
})

t.test('R4: a request is repeated once after a 401, with its body', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const bodies: unknown[] = []
  world.fate = (sent) => {
    if (sent.path !== '/orders') return {}
    bodies.push(sent.body)
    return reply(401, {})
  }
  const response = tab.client.fetch(api, { method: 'POST', body: JSON.stringify({ item: 7 }) })
  await world.pass(1000)
  t.equal((await response).status, 401, 'an API that refuses everything')
  t.same(bodies, [{ item: 7 }, { item: 7 }])
  t.equal(world.refreshes().length, 1)
  t.equal(tab.client.state, 'loggedIn')
})

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

t.test('R8: a timer of over 24 days does not fire at once', async (t) => {
  for (const timeoutMs of [2 ** 31, Number.POSITIVE_INFINITY]) {
    const fetch = () =>
      new Promise<Response>((resolve) =>
        setTimeout(() => resolve(Response.json({ access: 'a', refresh: makeToken({ gen: 0 }) })), 5)
      )
    const client = createClient({ baseUrl: 'https://auth.example', timeoutMs, fetch })
    await client.login('vitor', 'correct horse')
    t.equal(await client.getAccessToken(), 'a')
    client.close()
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

t.test('R6: a 401 of the refresh endpoint ends the session in every tab', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const other = world.openTab()
  await other.client.getAccessToken()
  world.service.end('s0', 'an operator')
  const calls = [get(tab), get(tab)]
  await world.pass(1000)
  t.ok(calls.every(({ outcome }) => outcome instanceof LoggedOut))
  t.equal(world.refreshes().length, 1)
  for (const each of [tab, other]) {
    t.equal(each.client.state, 'loggedOut')
    t.same(each.events.slice(-2), ['loggedOut', 'onLoggedOut'])
  }
  await t.rejects(tab.client.getAccessToken(), LoggedOut)
})

t.test('R6: a 401 for a token that another tab has replaced does not end the session', async (t) => {
  const { world, tab: slow } = await aLoggedInTab()
  const other = world.openTab()
  await world.pass(expired)
  world.fate = (sent) => (sent.tab === slow ? { ...reply(401, { detail: 'Token is blacklisted' }), back: 2000 } : {})
  const call = get(slow)
  await world.pass(100)
  await logIn(world, other)
  world.fate = () => ({})
  await world.pass(3000)
  t.equal(call.outcome, 'resolved', 'the new login is used')
  t.notOk(slow.events.includes('onLoggedOut'))
})

t.test('R7: a logout during a refresh stays a logout, and settles the calls that wait', async (t) => {
  const { world, tab } = await aLoggedInTab()
  await world.pass(expired)
  world.fate = refreshOnly({ back: 1000 })
  const waiting = get(tab)
  await world.pass(100)
  const logout = tab.call('logout', (client) => client.logout())
  t.equal(tab.client.state, 'loggedOut', 'at once')
  await world.pass(10)
  t.ok(waiting.outcome instanceof LoggedOut)
  await world.pass(5000)
  t.equal(logout.outcome, 'resolved')
  t.equal(world.stored?.ended, 2)
  t.equal(world.service.sessions.get('s0')?.endedBy, 'logout')
  t.notOk(tab.events.includes('onLoggedOut'), 'the caller knows')
  await t.rejects(tab.client.fetch(api), LoggedOut)
})

t.test('R7: a logout in another tab ends a refresh and settles the calls that wait for it', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const other = world.openTab()
  await other.client.getAccessToken()
  await world.pass(expired)
  world.fate = (sent) => (sent.tab === other ? { back: 3000 } : {})
  const waiting = get(other)
  await world.pass(100)
  tab.call('logout', (client) => client.logout())
  await world.pass(100)
  t.ok(waiting.outcome instanceof LoggedOut)
  // In cookie mode its answer would set the cookie of the former session, after that of the next login.
  t.ok(world.refreshes().every(({ isOpen }) => !isOpen))
})

t.test('R7: a logout that another tab saves while a client loads is noticed', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const other = world.openTab({}, (storage) => ({
    ...storage,
    load: () => {
      const loaded = storage.load()
      return new Promise((resolve) => world.clock.set(500, () => resolve(loaded)))
    }
  }))
  other.call('token', (client) => client.getAccessToken())
  await world.pass(100)
  tab.call('logout', (client) => client.logout())
  await world.pass(2000)
  t.equal(other.client.state, 'loggedOut')
})

t.test('R7: a logout that is called twice succeeds twice', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const [first, second] = [1, 2].map(() => tab.call('logout', (client) => client.logout()))
  await world.pass(1000)
  t.equal(first?.outcome, 'resolved')
  t.equal(second?.outcome, 'resolved')
  t.equal(world.stored?.ended, 2)
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

t.test('R7: the service is notified of a logout that did not reach it, after a reload too', async (t) => {
  const { world, tab } = await aLoggedInTab()
  world.fate = () => ({ lost: 'request' })
  const logout = tab.call('logout', (client) => client.logout())
  await world.pass(31_000)
  t.ok(logout.outcome instanceof Unavailable)
  tab.kill()
  world.fate = () => ({})
  const reloaded = world.openTab()
  const call = get(reloaded)
  await world.pass(1000)
  t.ok(call.outcome instanceof LoggedOut)
  t.equal(world.service.sessions.get('s0')?.endedBy, 'logout')
  t.equal(world.stored?.ended, 2)
})

t.test('R7: a logout during a login wins, and the session that the login started ends', async (t) => {
  const world = new World()
  const tab = world.openTab()
  const login = tab.call('login', (client) => client.login('vitor', 'correct horse'))
  await world.pass(30)
  const logout = tab.call('logout', (client) => client.logout())
  await world.pass(1000)
  t.ok(login.outcome instanceof LoggedOut)
  t.equal(logout.outcome, 'resolved')
  t.equal(tab.client.state, 'loggedOut')
  t.equal(world.service.sessions.get('s0')?.endedBy, 'logout')
})

t.test('R7: a logout wins over a login that waits until the service knows of an earlier logout', async (t) => {
  const { world, tab } = await aLoggedInTab()
  world.fate = only('/api/token/blacklist/', { lost: 'request' })
  tab.call('logout', (client) => client.logout())
  await world.pass(100)
  const login = tab.call('login', (client) => client.login('vitor', 'correct horse'))
  await world.pass(1000)
  tab.call('logout', (client) => client.logout())
  world.fate = () => ({})
  await world.pass(10_000)
  t.ok(login.outcome instanceof LoggedOut)
  t.equal(tab.client.state, 'loggedOut')
  t.ok([...world.service.sessions.values()].every(({ hasEnded }) => hasEnded))
})

t.test('of two logins at once the last answer counts, and both succeed', async (t) => {
  for (const slow of [0, 1]) {
    const world = new World()
    const tab = world.openTab()
    const delays = slow === 0 ? [500, 20] : [20, 500]
    world.fate = ({ path }) => (path === '/api/token/' ? { back: delays.shift() ?? 20 } : {})
    const logins = [1, 2].map(() => tab.call('login', (client) => client.login('vitor', 'correct horse')))
    await world.pass(1000)
    t.same(
      logins.map(({ outcome }) => outcome),
      ['resolved', 'resolved']
    )
    // Its cookie is the one that the browser keeps.
    t.equal(readToken(world.stored?.refresh ?? '').sid, slow === 0 ? 's0' : 's1')
    t.notOk(world.service.sessions.get('s0')?.hasEnded || world.service.sessions.get('s1')?.hasEnded)
  }
})

t.test('R7: a login after a logout works although the clock was set back', async (t) => {
  const { world, tab } = await aLoggedInTab()
  tab.call('logout', (client) => client.logout())
  await world.pass(1000)
  world.clock.wall -= 86_400_000
  await logIn(world, tab)
  t.equal(tab.client.state, 'loggedIn')
  t.equal(world.openTab().client.state, 'unknown')
  const call = get(world.openTab())
  await world.pass(1000)
  t.equal(call.outcome, 'resolved')
})

t.test('R8: every call settles within its timeout, whatever the clock does', async (t) => {
  for (const jump of [0, 86_400_000, -86_400_000]) {
    const { world, tab } = await aLoggedInTab({ timeoutMs: 20_000 })
    await world.pass(expired)
    world.fate = () => ({ lost: 'request' })
    const calls = [
      get(tab),
      tab.call('token', (client) => client.getAccessToken()),
      tab.call('list', (client) => client.sessions.list()),
      tab.call('password', (client) => client.changePassword('a', 'b')),
      tab.call('login', (client) => client.login('vitor', 'correct horse'))
    ]
    await world.pass(5000)
    world.clock.wall += jump
    await world.pass(15_001)
    t.ok(calls.every(({ outcome }) => outcome instanceof Unavailable))
    t.equal(world.clock.timers.size, 0)
  }
})

t.test(
  'R8: a caller that gives up gets its own reason, and a fetch that ignores signals does not hold a call',
  async (t) => {
    const { world } = await aLoggedInTab()
    const deaf = world.openTab({ timeoutMs: 1000, fetch: () => new Promise(() => {}) })
    const controller = new AbortController()
    const aborted = deaf.call('fetch', (client) => client.fetch(api, { signal: controller.signal }))
    const timedOut = deaf.call('fetch', (client) => client.fetch(new Request(api)))
    await world.pass(10)
    controller.abort(new Error('enough'))
    await world.pass(1000)
    t.match(aborted.outcome, { message: 'enough' })
    t.ok(timedOut.outcome instanceof Unavailable)
  }
)

t.test('R9: an instance that was not called holds nothing, and close releases everything', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const unused = world.openTab()
  t.equal(unused.listeners.size, 0)
  await world.pass(expired)
  world.fate = () => ({ lost: 'request' })
  const call = get(tab)
  await world.pass(100)
  t.equal(tab.listeners.size, 1)
  tab.client.close()
  await world.pass(0)
  t.ok(call.outcome instanceof Unavailable)
  t.equal(tab.listeners.size, 0)
  t.equal(world.clock.timers.size, 0)
  t.ok(
    world.sent.every(({ isOpen }) => !isOpen),
    'the request is aborted'
  )
  world.fate = () => ({})
  const again = get(tab)
  await world.pass(1000)
  t.equal(again.outcome, 'resolved', 'and it can be used again')
  t.equal(tab.listeners.size, 1, 'with one subscription')
})

t.test('R9: a client that is closed while it loads makes no request and calls nothing back', async (t) => {
  const { world } = await aLoggedInTab()
  await world.pass(expired)
  const mounted = world.openTab()
  const call = get(mounted)
  mounted.client.close()
  await world.pass(1000)
  t.ok(call.outcome instanceof Unavailable)
  t.notOk(world.sent.some(({ tab }) => tab === mounted))
  t.same(mounted.events, [])
  t.equal(mounted.listeners.size, 0)
  t.equal(world.clock.timers.size, 0)
})

t.test('R9: a client that is used again after close knows what happened meanwhile', async (t) => {
  const { world, tab } = await aLoggedInTab()
  const other = world.openTab()
  await other.client.getAccessToken()
  other.client.close()
  tab.call('logout', (client) => client.logout())
  await world.pass(1000)
  const call = get(other)
  await world.pass(1000)
  t.ok(call.outcome instanceof LoggedOut)
  t.notOk(world.sent.some((sent) => sent.tab === other))
})

t.test('createClient: a base URL that cannot work is a TypeError', async (t) => {
  const create = (baseUrl: unknown) => () => createClient({ baseUrl } as { baseUrl: string })
  for (const baseUrl of [undefined, null, '', 'auth.example', '/auth', '//auth.example', 7, {}])
    t.throws(create(baseUrl), { name: 'TypeError' }, String(baseUrl))
  t.throws(() => (createClient as () => unknown)(), { name: 'TypeError' })
  for (const baseUrl of ['https://auth.example', 'http://127.0.0.1:8000/auth'])
    t.equal(create(baseUrl)().state, 'unknown')
})

t.test('createClient: the origin of a page completes a path', async (t) => {
  Object.defineProperty(globalThis, 'location', { value: new URL('https://shop.example/'), configurable: true })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'location'))
  for (const baseUrl of ['', '/auth', 'https://auth.example']) t.ok(createClient({ baseUrl }))
  t.throws(() => createClient({ baseUrl: 'https://' }), { name: 'TypeError' })
})

t.test('an option that is undefined has its default', async (t) => {
  const undefinedOptions = { mode: undefined, storage: undefined, timeoutMs: undefined, runtime: undefined }
  const fetch = async () => Response.json({ access: 'a', refresh: 'r' })
  const client = createClient({
    baseUrl: 'https://auth.example',
    fetch,
    ...undefinedOptions
  } as object as ClientOptions)
  await client.login('vitor', 'correct horse')
  t.equal(await client.getAccessToken(), 'a')
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

t.test('a login whose answer has no refresh token fails in mode token: the service runs in cookie mode', async (t) => {
  const world = new World()
  const tab = world.openTab()
  world.fate = () => reply(200, { access: makeToken({ gen: 0 }) })
  const call = tab.call('login', (client) => client.login('vitor', 'correct horse'))
  await world.pass(1000)
  t.ok(call.outcome instanceof LoggedOut)
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

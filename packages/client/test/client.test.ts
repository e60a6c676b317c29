/* The rules of the state machine in src/client.ts, on a virtual clock and network. Those about responses are in answers.test.ts. */
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { LoggedOut, Unavailable } from '../src/index.ts'
import * as rules from '../src/rules.ts'
import type { Session } from '../src/session.ts'
import { aLoggedInTab, api, due, expired, get, logIn, only, refreshOnly, reply } from './support.ts'
import { makeToken, readToken, World } from './world.ts'

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

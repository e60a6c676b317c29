import t from 'tap'
import { RevocationReplica, type RevocationLimits } from '../../../src/sessions/revocations.ts'
import { makeManualClock } from '../../../src/time.ts'
import { aRevocation } from '../../support/makers.ts'

const [window, staleness] = [360, 30]
const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1 }

/** A replica with a wall clock and a monotonic clock that are stepped. */
function open(limits: Partial<RevocationLimits> = {}) {
  const [wall, monotonic] = [makeManualClock(), makeManualClock(0)]
  const replica = new RevocationReplica({ window, staleness, ...limits }, wall, monotonic)
  const tick = (seconds: number) => {
    wall.advance(seconds)
    monotonic.advance(seconds)
  }
  return { replica, wall, monotonic, tick }
}

t.test('it says nothing before it has heard the feed', async (t) => {
  const { replica, wall } = open()
  t.equal(replica.isStale(), true)
  t.throws(() => replica.has({ sid: 'a' }), down)
  replica.add([aRevocation('a', wall())])
  t.throws(() => replica.has({ sid: 'a' }), down, 'what is known in part is not enough')
  replica.heard()
  t.equal(replica.isStale(), false)
  t.equal(replica.has({ sid: 'a' }), true)
  t.equal(replica.has({ sid: 'b' }), false)
})

t.test('silence is reported with its reason, and only once it is too long', async (t) => {
  const { replica, tick } = open()
  const reason = new Error('connect ECONNREFUSED')
  replica.heard()
  replica.lost(reason)
  t.equal(replica.has({ sid: 'a' }), false)
  tick(staleness + 1)
  t.throws(() => replica.has({ sid: 'a' }), { ...down, cause: reason })
})

t.test('a session and a token with the same id are two, unless an earlier version announced the id', async (t) => {
  const { replica, wall } = open()
  replica.add([aRevocation('a', wall()), aRevocation('b', wall(), 'jti'), aRevocation('c', wall(), 'any')])
  replica.heard()
  for (const [id, asSid, asJti] of [
    ['a', true, false],
    ['b', false, true],
    ['c', true, true]
  ] as const) {
    t.equal(replica.has({ sid: id, jti: 'x' }), asSid, `${id} as a sid`)
    t.equal(replica.has({ sid: 'x', jti: id }), asJti, `${id} as a jti`)
    t.equal(replica.has({ jti: id }), asJti)
  }
  t.equal(replica.has({ sid: undefined, jti: undefined }), false)
  t.equal(replica.has({}), false)
})

t.test('after a loss of the list our tokens from before are refused for one window', async (t) => {
  const { replica, wall, tick } = open()
  replica.heard()
  const [before, after] = [
    { sid: 'a', iat: wall() - 1 },
    { sid: 'a', iat: wall() }
  ]
  replica.lostBefore(1000, 1000)
  t.equal(replica.has(before), true)
  t.equal(replica.has({ client_id: 'service', jti: 'b', iat: before.iat }), true, 'those of clients too')
  t.equal(replica.has({ sid: 'a' }), false, 'but not those without an iat, which ours always have')
  t.equal(replica.has(after), false)
  t.equal(replica.has({ jti: 'b', iat: before.iat }), false, 'but not those of another issuer')
  replica.lostBefore(0)
  tick(window - 1)
  replica.heard()
  t.equal(replica.has(before), true)
  tick(1)
  replica.heard()
  t.equal(replica.has(before), false)
})

t.test('silence is measured by a monotonic clock', async (t) => {
  const { replica, wall, monotonic } = open()
  replica.heard()
  for (const step of [86_400, -2 * 86_400]) {
    wall.advance(step)
    t.equal(replica.isStale(), false, `the wall clock steps by ${step} seconds`)
    t.equal(replica.has({ sid: 'a' }), false)
  }
  monotonic.advance(staleness)
  t.equal(replica.isStale(), false, 'the last second')
  monotonic.advance(1)
  t.equal(replica.isStale(), true)
  t.throws(() => replica.has({ sid: 'a' }), down)
  wall.advance(-staleness)
  t.equal(replica.isStale(), true, 'setting the wall clock back does not help')
  replica.heard()
  t.equal(replica.isStale(), false)
})

t.test('an entry outlasts a wall clock that is set, and set back', async (t) => {
  const { replica, wall, tick } = open()
  replica.add([aRevocation('a', wall())])
  wall.advance(3600)
  replica.heard()
  t.equal(replica.has({ sid: 'a' }), true, 'an hour forward, and the tokens have expired')
  wall.advance(-3600)
  t.equal(replica.has({ sid: 'a' }), true, 'an hour back, and they have not')
  tick(window)
  replica.heard()
  t.equal(replica.has({ sid: 'a' }), false)
})

t.test('an entry outlasts the tokens that were made while the wall clock was ahead', async (t) => {
  for (const wasHeard of ['meanwhile', 'afterwards']) {
    const { replica, wall, tick } = open()
    const revokedAt = wall() + 3600
    if (wasHeard === 'meanwhile') wall.advance(3600)
    replica.add([aRevocation('a', revokedAt)])
    if (wasHeard === 'meanwhile') wall.advance(-3600)
    tick(3600 + window - 1)
    replica.heard()
    t.equal(replica.has({ sid: 'a' }), true, `heard ${wasHeard}`)
    tick(1)
    replica.heard()
    t.equal(replica.has({ sid: 'a' }), false)
  }
})

t.test('its default clock is monotonic', async (t) => {
  const replica = new RevocationReplica({ window, staleness: 2 }, makeManualClock())
  replica.heard()
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  Date.now = () => now() + 3_600_000
  t.equal(replica.isStale(), false)
})

t.test('an entry is forgotten when no token of it can be alive, and not a second before', async (t) => {
  const { replica, wall, tick } = open()
  const hear = (id: string) => {
    replica.heard()
    return replica.has({ sid: id })
  }
  replica.add([aRevocation('early', wall())])
  tick(1)
  replica.add([aRevocation('late', wall())])
  tick(window - 2)
  t.equal(hear('early'), true, 'its last second')
  tick(1)
  t.equal(hear('early'), false)
  t.equal(hear('late'), true)
  tick(1)
  t.equal(hear('late'), false)
})

t.test('an entry is not forgotten while the feed is silent', async (t) => {
  const { replica, wall, tick } = open()
  replica.heard()
  replica.add([aRevocation('a', wall())])
  tick(staleness)
  t.equal(replica.has({ sid: 'a' }), true)
})

t.test('knowing an entry twice does no harm', async (t) => {
  const { replica, wall, tick } = open()
  replica.add([aRevocation('a', wall())])
  tick(100)
  replica.add([aRevocation('b', wall()), aRevocation('a', wall())])
  tick(window - 100)
  replica.heard()
  t.equal(replica.has({ sid: 'a' }), true, 'the later time counts')
  tick(100)
  replica.heard()
  t.equal(replica.has({ sid: 'a' }), false)
  t.equal(replica.has({ sid: 'b' }), false, 'and it keeps no other session')
})

t.test('an entry that comes late, or out of order, is kept no shorter than it matters', async (t) => {
  const { replica, wall, tick } = open()
  const now = wall()
  replica.add([aRevocation('new', now), aRevocation('old', now - 100), aRevocation('over', now - window)])
  tick(window - 101)
  replica.heard()
  t.equal(replica.has({ sid: 'old' }), true)
  tick(101)
  replica.heard()
  for (const id of ['new', 'old', 'over']) t.equal(replica.has({ sid: id }), false, id)
})

t.test('more than it holds is more than it knows: nothing is verified', async (t) => {
  const { replica, wall, tick } = open({ maxIds: 3 })
  const revoke = (...ids: readonly string[]) => {
    replica.add(ids.map((id) => aRevocation(id, wall())))
    replica.heard()
  }
  revoke('a', 'b')
  tick(10)
  revoke('c')
  t.equal(replica.has({ sid: 'c' }), true, 'as many as it holds')
  revoke('c')
  t.equal(replica.isStale(), false, 'one known before takes no room')
  revoke('d')
  t.equal(replica.isStale(), true)
  t.throws(() => replica.has({ sid: 'a' }), down)
  t.throws(() => replica.has({ sid: 'x' }), down)
  tick(window - 10)
  t.equal(replica.isStale(), true, 'what has expired takes room until the feed is heard')
  replica.heard()
  t.equal(replica.isStale(), false)
  t.same(
    ['a', 'b', 'c', 'd'].filter((id) => replica.has({ sid: id })),
    ['c', 'd'],
    'those that matter were kept'
  )
})

import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { openEmbeddedSessions } from '../../../src/stores/embedded/sessions.ts'
import { makeManualClock } from '../../../src/time.ts'
import { sessionStoreSuite } from '../../conformance/sessions.ts'
import { aDevice, aPolicy } from '../../support/makers.ts'

/** How long a revocation matters, in seconds. */
const window = 360
const clock = makeManualClock()
const engine = openEmbedded(t.testdir())
t.teardown(() => engine.close())

t.test('embedded sessions', async (t) => {
  await sessionStoreSuite(t, async (policy) => ({
    store: await openEmbeddedSessions(engine, policy, window, clock),
    now: clock,
    advance: async (seconds) => clock.advance(seconds)
  }))
})

t.test('a table of a version without late retries is brought up to date and keeps its sessions', async (t) => {
  const old = openEmbedded(t.testdir())
  t.teardown(() => old.close())
  const openSessions = () => openEmbeddedSessions(old, aPolicy({ lateRetry: 3600 }), window, clock)
  const { sid } = (await (await openSessions()).start('u', aDevice)).session
  old.run('ALTER TABLE keyturn_sessions DROP COLUMN late_generation')
  const store = await openSessions()
  t.match(await store.find('u', sid), { generation: 0, lateGeneration: 0 })
  t.equal((await store.rotate({ userId: 'u', sid, generation: 0 })).kind, 'rotated')
  clock.advance(60)
  t.equal((await store.rotate({ userId: 'u', sid, generation: 0 })).kind, 'late')
})

t.test('an adoption is forgotten once its token has expired', async (t) => {
  const store = await openEmbeddedSessions(engine, aPolicy(), window, clock)
  const adopt = (sid: string) => store.adopt({ userId: 'u', sid, issuedAt: 0, expiresAt: clock() + 500 }, aDevice)
  t.equal(await adopt('a'), true)
  clock.advance(500)
  t.equal(await store.isSpent({ userId: 'u', sid: 'a', issuedAt: 0, expiresAt: 0 }), false)
  t.equal(await adopt('b'), true)
  t.same(engine.run('SELECT sid FROM keyturn_adoptions WHERE user_id = $1', ['u']), [{ sid: 'b' }])
})

t.test('sessions that are over do not stay in the file', async (t) => {
  const store = await openEmbeddedSessions(engine, aPolicy({ lifetime: 100 }), window, clock)
  clock.advance(100_000_000)
  for (let login = 0; login < 200; login++) await store.start('u', aDevice)
  clock.advance(100)
  for (let login = 0; login < 20; login++) await store.start('u', aDevice)
  const [row] = engine.run<{ kept: number }>('SELECT count(*) AS kept FROM keyturn_sessions')
  t.equal(row?.kept, 20)
})

t.test('the sessions of many users end in turns, between which other requests are served', async (t) => {
  const store = await openEmbeddedSessions(engine, aPolicy(), window, clock)
  const users = Array.from({ length: 100 }, (_, index) => `many-${index}`)
  for (const userId of users) await store.start(userId, aDevice)
  let [turns, isOver] = [0, false]
  const count = async () => {
    for (; !isOver; turns++) await nextTurn()
  }
  const counting = count()
  const ended = await Promise.all(users.map((userId) => store.revokeAll(userId)))
  isOver = true
  await counting
  t.equal(ended.flat().length, 100)
  t.ok(turns >= 90, `${turns} turns`)
})

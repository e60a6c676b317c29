import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { openEmbeddedSessions } from '../../../src/stores/embedded/sessions.ts'
import { makeManualClock, systemClock } from '../../../src/time.ts'
import { sessionStoreSuite } from '../../conformance/sessions.ts'
import { aDataDir } from '../../support/keyturn.ts'
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

/** How many sessions one transaction ends. */
const step = 200

/** A user with 450 sessions besides the one that is kept. The process that was ending them was killed after the first step. */
async function openInterrupted(t: Test) {
  const dataDir = aDataDir(t)
  const file = openEmbedded(dataDir)
  t.teardown(() => file.close())
  const store = await openEmbeddedSessions(file, aPolicy(), window, systemClock)
  const start = async () => (await store.start('u', aDevice)).session.sid
  const kept = await start()
  const sids: string[] = []
  for (let login = 0; login < 450; login++) sids.push(await start())
  const child = fork(new URL('../../support/interrupted-ending.js', import.meta.url), [dataDir, 'u', kept], {
    execArgv: []
  })
  t.same(await once(child, 'exit'), [null, 'SIGKILL'])
  const announced = () => file.run<{ id: string }>('SELECT id FROM keyturn_revocations').map(({ id }) => id)
  const rest = sids.filter((sid) => !announced().includes(sid))
  t.equal(rest.length, sids.length - step)
  return { store, kept, rest, start, announced, endings: () => file.run('SELECT 1 FROM keyturn_endings').length }
}

t.test('an end of all sessions whose process was killed counts, and is finished by what comes after it', async (t) => {
  for (const finish of ['a refresh', 'a logout', 'logins', 'the end of all'] as const) {
    await t.test(`by ${finish}`, async (t) => {
      const { store, kept, rest, start, announced, endings } = await openInterrupted(t)
      const [sid = ''] = rest
      const place = { userId: 'u', sid, generation: 0 }
      t.same(
        (await store.list('u')).map((session) => session.sid),
        [kept],
        'none of the others is listed'
      )
      t.equal(await store.find('u', sid), undefined)
      t.equal(endings(), 1)

      const later: string[] = []
      if (finish === 'a refresh') t.equal((await store.rotate(place)).kind, 'unknown')
      if (finish === 'a logout') t.equal(await store.revoke('u', sid), true)
      // Each login carries out one step.
      if (finish === 'logins') for (let done = 0; done < rest.length; done += step) later.push(await start())
      if (finish === 'the end of all') {
        const between = await start()
        const ended = await store.revokeAll('u', kept)
        t.ok(ended.includes(between), 'also what started after the first end')
        t.equal(await store.find('u', between), undefined)
        t.ok(announced().includes(between))
      }

      t.ok(announced().includes(sid))
      t.equal((await store.rotate(place)).kind, 'unknown', 'it is never refreshed')
      t.equal(await store.revoke('u', sid), false, 'nothing is left of it')
      if (finish === 'logins' || finish === 'the end of all') {
        t.ok(
          rest.every((each) => announced().includes(each)),
          'nor of the others'
        )
        t.equal(endings(), 0)
      }
      for (const live of [kept, ...later])
        t.equal(
          (await store.rotate({ ...place, sid: live })).kind,
          'rotated',
          'the one that is kept and later ones go on'
        )
      t.equal((await store.list('u')).length, 1 + later.length)
    })
  }
})

import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import { randomId } from '../../src/random.ts'
import { decide } from '../../src/sessions/rotation.ts'
import type { Session, SessionPolicy } from '../../src/sessions/session.ts'
import type { SessionStore } from '../../src/sessions/store.ts'
import { aDevice, aPolicy } from '../support/makers.ts'

/** A session store whose time is stepped by the suite. */
export interface OpenedSessions {
  readonly store: SessionStore
  now(): number
  advance(seconds: number): Promise<void>
}

export type OpenSessions = (policy: SessionPolicy) => Promise<OpenedSessions>

/** What every session store must do, run over each of them. */
export async function sessionStoreSuite(t: Test, open: OpenSessions): Promise<void> {
  const user = () => `user-${Math.random().toString(36).slice(2)}`

  await t.test('a session is rotated, and its newest generation can always be read', async (t) => {
    const { store, now } = await open(aPolicy({ lifetime: 100, absoluteLifetime: 1000 }))
    const userId = user()
    const { session, ended } = await store.start(userId, { ip: '192.0.2.7', userAgent: 'curl/8' })
    t.match(session, { userId, generation: 0, createdAt: now(), expiresAt: now() + 100, absoluteExp: now() + 1000 })
    t.match(session.sid, /^[0-9a-f]{32}$/)
    t.same(ended, [])
    t.same(await store.find(userId, session.sid), session)
    t.same(await store.rotate({ userId, sid: session.sid, generation: 0 }), {
      kind: 'rotated',
      newest: { number: 1, issuedAt: now(), expiresAt: now() + 100 }
    })
    t.match(await store.find(userId, session.sid), { generation: 1, device: { ip: '192.0.2.7', userAgent: 'curl/8' } })
    t.equal(await store.find(user(), session.sid), undefined, 'a session is found under its own user only')
    t.same(await store.rotate({ userId: user(), sid: session.sid, generation: 1 }), { kind: 'unknown' })
  })

  await t.test('fifty rotations at once have one successor', async (t) => {
    const { store } = await open(aPolicy())
    const userId = user()
    const { sid } = (await store.start(userId, aDevice)).session
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => store.rotate({ userId, sid, generation: 0 })))
    t.equal(verdicts.filter(({ kind }) => kind === 'rotated').length, 1)
    t.equal(verdicts.filter(({ kind }) => kind === 'retried').length, 49)
    t.equal(new Set(verdicts.map((verdict) => JSON.stringify('newest' in verdict && verdict.newest))).size, 1)
  })

  await t.test('sessions are counted', async (t) => {
    const { store } = await open(aPolicy())
    const [userId, other] = [user(), user()]
    const before = await store.estimateCount()
    const { sid } = (await store.start(userId, aDevice)).session
    for (const id of [userId, other]) await store.start(id, aDevice)
    t.equal((await store.estimateCount()) - before, 3)
    await store.revoke(userId, sid)
    t.equal((await store.estimateCount()) - before, 2)
  })

  await t.test('a foreign token becomes a session once, however many try', async (t) => {
    const { store, now, advance } = await open(aPolicy({ lifetime: 100 }))
    const userId = user()
    const token = { userId, sid: randomId(), issuedAt: now(), expiresAt: now() + 500 }
    t.equal(await store.isSpent(token), false)
    const started = await Promise.all(Array.from({ length: 20 }, () => store.adopt(token, aDevice)))
    t.equal(started.filter(Boolean).length, 1)
    t.equal(await store.isSpent(token), true)
    t.equal(await store.isSpent({ ...token, sid: randomId() }), false)
    t.match(await store.find(userId, token.sid), {
      generation: 0,
      createdAt: now(),
      expiresAt: now() + 100,
      device: aDevice
    })
    t.equal((await store.rotate({ userId, sid: token.sid, generation: 0 })).kind, 'rotated')
    t.equal((await store.rotate({ userId, sid: token.sid, generation: 0 })).kind, 'retried')
    t.equal(await store.revoke(userId, token.sid), true)
    t.equal(await store.adopt(token, aDevice), false, 'not even when its session is over')
    await advance(499)
    t.equal(await store.isSpent(token), true, 'as long as the token lives')
  })

  await t.test('the end of all sessions counts for foreign tokens issued before', async (t) => {
    const { store, now, advance } = await open(aPolicy())
    const userId = user()
    const token = (issuedAt: number) => ({ userId, sid: randomId(), issuedAt, expiresAt: now() + 500 })
    const { sid } = (await store.start(userId, aDevice)).session
    await store.revokeAll(userId, sid)
    t.equal(await store.isSpent(token(now())), true)
    t.equal(await store.adopt(token(now()), aDevice), false, 'in the same second')
    t.equal(await store.adopt(token(0), aDevice), false, 'at a time it does not tell')
    t.equal(await store.adopt({ ...token(now()), userId: user() }, aDevice), true, 'somebody else')
    const early = { ...token(-5), userId: user() }
    t.equal(await store.isSpent(early), false)
    t.equal(await store.adopt(early, aDevice), true, 'issued before 1970, as isSpent says')
    await advance(1)
    t.equal(await store.isSpent(token(now())), false)
    t.equal(await store.adopt(token(now()), aDevice), true, 'after it')
  })

  await t.test('a reuse after the grace ends the session', async (t) => {
    const { store, advance } = await open(aPolicy({ grace: 10 }))
    const userId = user()
    const { sid } = (await store.start(userId, aDevice)).session
    const present = (generation: number) => store.rotate({ userId, sid, generation }).then(({ kind }) => kind)
    t.equal(await present(0), 'rotated')
    await advance(10)
    t.equal(await present(0), 'retried', 'the last second of the grace')
    await advance(1)
    t.equal(await present(0), 'reused')
    t.equal(await present(1), 'unknown', 'the successor is dead too')
    t.equal(await store.find(userId, sid), undefined)
    t.same(await store.list(userId), [])
  })

  await t.test('a rotation in the last second of the grace belongs to the burst', async (t) => {
    for (const [seconds, expected] of [
      [10, 'retried'],
      [11, 'reused']
    ] as const) {
      const { store, advance } = await open(aPolicy({ grace: 10 }))
      const userId = user()
      const { sid } = (await store.start(userId, aDevice)).session
      const present = async (generation: number) => (await store.rotate({ userId, sid, generation })).kind
      // More rotations than those whose times are in the record.
      for (let generation = 0; generation < 5; generation++) t.equal(await present(generation), 'rotated')
      await advance(seconds)
      t.equal(await present(5), 'rotated')
      t.equal(await present(0), expected, `${seconds} seconds after the first rotation`)
    }
  })

  await t.test('a late retry is answered once in eight rotations, and changes nothing', async (t) => {
    const { store, now, advance } = await open(aPolicy({ lateRetry: 3600 }))
    const userId = user()
    const { sid } = (await store.start(userId, aDevice)).session
    const present = (generation: number) => store.rotate({ userId, sid, generation })
    const first = await present(0)
    await advance(3600)
    t.same(await present(0), { ...first, kind: 'late' })
    t.match(await store.find(userId, sid), { generation: 1, lateGeneration: 1, lastUsedAt: now() })
    for (let generation = 1; generation < 9; generation++) {
      t.equal((await present(generation)).kind, 'rotated')
      await advance(11)
    }
    t.equal((await present(8)).kind, 'late', 'eight rotations later')
    t.equal((await present(9)).kind, 'rotated')
    await advance(11)
    t.equal((await present(9)).kind, 'reused', 'one rotation later')
    t.equal((await present(10)).kind, 'unknown')
  })

  await t.test('a late retry begins the grace of its token again, which a rotation then leaves as it is', async (t) => {
    for (const [seconds, expected] of [
      [10, 'retried'],
      [11, 'reused']
    ] as const) {
      const { store, advance } = await open(aPolicy({ lateRetry: 3600 }))
      const userId = user()
      const { sid } = (await store.start(userId, aDevice)).session
      const present = async (generation: number) => (await store.rotate({ userId, sid, generation })).kind
      await present(0)
      await advance(60)
      t.equal(await present(0), 'late')
      await advance(5)
      t.equal(await present(1), 'rotated')
      await advance(seconds - 5)
      t.equal(await present(0), expected, `${seconds} seconds after the late retry`)
    }
  })

  await t.test(
    'fifty late retries at once get one successor, and fifty of another generation end the session once',
    async (t) => {
      const { store, advance } = await open(aPolicy({ lateRetry: 3600 }))
      const userId = user()
      const { sid } = (await store.start(userId, aDevice)).session
      const present = (generation: number) => store.rotate({ userId, sid, generation })
      const many = (generation: number) => Promise.all(Array.from({ length: 50 }, () => present(generation)))
      const first = await present(0)
      await advance(60)
      const late = await many(0)
      t.same(
        new Set(late.map((verdict) => JSON.stringify(verdict))),
        new Set([JSON.stringify({ ...first, kind: 'late' })])
      )
      t.match(await present(1), { kind: 'rotated', newest: { number: 2 } })
      await advance(60)
      const second = await many(1)
      t.equal(second.filter(({ kind }) => kind === 'reused').length, 1)
      t.equal(second.filter(({ kind }) => kind === 'unknown').length, 49)
    }
  )

  await t.test('a session that is idle too long, or too old, is over', async (t) => {
    const { store, now, advance } = await open(aPolicy({ lifetime: 100, absoluteLifetime: 250 }))
    const userId = user()
    const { sid } = (await store.start(userId, aDevice)).session
    const idle = (await store.start(userId, aDevice)).session
    const born = now()
    await advance(99)
    t.equal((await store.rotate({ userId, sid, generation: 0 })).kind, 'rotated')
    await advance(1)
    t.equal((await store.rotate({ userId, sid: idle.sid, generation: 0 })).kind, 'unknown')
    t.equal(await store.revoke(userId, idle.sid), false)
    t.same(
      (await store.list(userId)).map((each) => each.sid),
      [sid]
    )
    await advance(98)
    const last = await store.rotate({ userId, sid, generation: 1 })
    t.match(last, { kind: 'rotated', newest: { expiresAt: born + 250 } }, 'rotation does not move the absolute end')
    await advance(52)
    t.equal((await store.rotate({ userId, sid, generation: 2 })).kind, 'unknown')
  })

  await t.test('a revoked session is over, once', async (t) => {
    const { store } = await open(aPolicy())
    const userId = user()
    const { sid } = (await store.start(userId, aDevice)).session
    t.equal(await store.revoke(user(), sid), false)
    t.equal(await store.revoke(userId, sid), true)
    t.equal(await store.revoke(userId, sid), false)
    t.equal((await store.rotate({ userId, sid, generation: 0 })).kind, 'unknown')
    t.equal((await store.rotate({ userId, sid, generation: 7 })).kind, 'unknown', 'a lost session grants no access')
  })

  await t.test('all sessions of a user end, or all but one, and no session of another user', async (t) => {
    const { store } = await open(aPolicy())
    const [userId, other] = [user(), user()]
    const sids = []
    for (let login = 0; login < 5; login++) sids.push((await store.start(userId, aDevice)).session.sid)
    const bystander = (await store.start(other, aDevice)).session.sid
    const [kept = ''] = sids
    for (const odd of ['', 'zz', kept.slice(2), `${kept}00`]) t.equal(await store.revoke(userId, odd), false)
    t.equal((await store.list(userId)).length, 5, 'an invalid sid ends no session')
    t.same(new Set(await store.revokeAll(userId, kept)), new Set(sids.slice(1)))
    t.equal((await store.rotate({ userId, sid: kept, generation: 0 })).kind, 'rotated')
    t.same(await store.revokeAll(userId), [kept])
    t.same(await store.revokeAll(userId), [])
    t.same(await store.list(userId), [])
    t.ok(await store.find(other, bystander))
  })

  await t.test('the list comes in pages, newest first', async (t) => {
    const { store, advance } = await open(aPolicy())
    const userId = user()
    const addresses = new Map<string, string>()
    for (let login = 0; login < 130; login++) {
      await advance(login % 2)
      const device = { ip: `192.0.2.${login}`, userAgent: 'test' }
      addresses.set((await store.start(userId, device)).session.sid, device.ip)
    }
    const sids = (sessions: readonly Session[]) => sessions.map(({ sid }) => sid)
    const all = await store.list(userId, { limit: 1000 })
    t.same(new Set(sids(all)), new Set(addresses.keys()))
    t.same(
      all.map(({ sid, createdAt }) => [createdAt, sid]),
      all
        .map(({ sid, createdAt }) => [createdAt, sid])
        .sort(([a = 0, x = ''], [b = 0, y = '']) => +b - +a || (x < y ? 1 : -1)),
      'by login, then by sid'
    )
    for (const { sid, device } of all) t.equal(device.ip, addresses.get(sid))
    t.same(sids(await store.list(userId)), sids(all.slice(0, 100)), 'a hundred by default')
    const second = await store.list(userId, { limit: 20, after: all[99] })
    t.same(sids(second), sids(all.slice(100, 120)))
    await store.revoke(userId, all[99]?.sid ?? '')
    t.same(await store.list(userId, { limit: 20, after: all[99] }), second, 'after one that has ended meanwhile')
    t.same(await store.list(userId, { after: all.at(-1) }), [])
  })

  await t.test('at a limit of many sessions each login ends the oldest', async (t) => {
    const { store, advance } = await open(aPolicy({ maxPerUser: 100 }))
    const userId = user()
    const sids: string[] = []
    for (let login = 0; login < 180; login++) {
      await advance(1)
      const { session, ended } = await store.start(userId, aDevice)
      t.same(ended, login < 100 ? [] : [sids[login - 100]])
      sids.push(session.sid)
    }
    const listed = (await store.list(userId, { limit: 1000 })).map(({ sid }) => sid)
    t.same(listed, sids.slice(80).reverse())
    // A logout makes room, wherever it is in the order.
    for (const place of [81, 170]) t.equal(await store.revoke(userId, sids[place] ?? ''), true)
    for (const ended of [[], [], [sids[80]], [sids[82]]]) {
      await advance(1)
      t.same((await store.start(userId, aDevice)).ended, ended)
    }
  })

  await t.test('a session that is over does not count for the limit', async (t) => {
    const { store, advance } = await open(aPolicy({ maxPerUser: 80, lifetime: 1000 }))
    const userId = user()
    const start = async (lifetime?: number) => (await store.start(userId, aDevice, lifetime)).session.sid
    const first = await start()
    await advance(1)
    for (let login = 0; login < 79; login++) await start(login < 20 ? 500 : undefined)
    t.same((await store.start(userId, aDevice)).ended, [first])
    await advance(500)
    for (let login = 0; login < 20; login++) t.same((await store.start(userId, aDevice)).ended, [])
    t.equal((await store.start(userId, aDevice)).ended.length, 1)
  })

  await t.test('a user who has far more sessions than the limit loses the oldest, some at each login', async (t) => {
    const { store, advance } = await open(aPolicy({ maxPerUser: 10_000 }))
    const userId = user()
    for (let login = 0; login < 600; login += 200) {
      await advance(1)
      await Promise.all(Array.from({ length: 200 }, () => store.start(userId, aDevice)))
    }
    const { store: limited } = await open(aPolicy({ maxPerUser: 100 }))
    const newest: string[] = []
    for (let login = 0; login < 8; login++) {
      await advance(1)
      const { session, ended } = await limited.start(userId, aDevice)
      t.ok(ended.length <= 200, `${ended.length} at once`)
      newest.unshift(session.sid)
    }
    const listed = (await limited.list(userId, { limit: 1000 })).map(({ sid }) => sid)
    t.equal(listed.length, 100)
    t.same(listed.slice(0, 8), newest)
  })

  await t.test('hundreds of sessions end at once for every refresh, and the one that is kept goes on', async (t) => {
    const { store } = await open(aPolicy({ maxPerUser: 10_000 }))
    const userId = user()
    const sids: string[] = []
    for (let login = 0; login < 900; login += 100) {
      const started = await Promise.all(Array.from({ length: 100 }, () => store.start(userId, aDevice)))
      sids.push(...started.map(({ session }) => session.sid))
    }
    const [kept = '', ...others] = sids
    let isOver = false
    const ending = store.revokeAll(userId, kept).finally(() => {
      isOver = true
    })
    // Asked after it, each of these is answered after its first step and, mostly, before its last.
    const meanwhile: string[] = []
    while (!isOver) {
      const sid = others[meanwhile.length * 7] ?? ''
      meanwhile.push((await store.rotate({ userId, sid, generation: 0 })).kind)
      if ((await store.find(userId, sid)) !== undefined) meanwhile.push('found')
      const listed = (await store.list(userId)).map((each) => each.sid)
      if (!(listed.length === 1 && listed[0] === kept)) meanwhile.push(`${listed.length} listed`)
      await nextTurn()
    }
    t.same(new Set(meanwhile), new Set(['unknown']))
    const ended = new Set(await ending)
    t.ok(ended.size >= others.length - meanwhile.length && !ended.has(kept))
    t.equal((await store.rotate({ userId, sid: kept, generation: 0 })).kind, 'rotated')
    t.same(
      (await store.list(userId)).map(({ sid }) => sid),
      [kept]
    )
    t.same(await store.revokeAll(userId), [kept])
  })

  await t.test('two calls that end all sessions at once leave none, and none that started later is lost', async (t) => {
    const { store } = await open(aPolicy({ maxPerUser: 10_000 }))
    const userId = user()
    for (let round = 0; round < 3; round++) {
      const started = await Promise.all(Array.from({ length: 250 }, () => store.start(userId, aDevice)))
      const both = await Promise.all([store.revokeAll(userId), store.revokeAll(userId)])
      t.same(new Set(both.flat()), new Set(started.map(({ session }) => session.sid)))
      const later = (await store.start(userId, aDevice)).session.sid
      t.same(
        (await store.list(userId)).map(({ sid }) => sid),
        [later]
      )
      await store.revoke(userId, later)
    }
  })

  await t.test('beyond the limit the oldest session ends', async (t) => {
    const { store, advance } = await open(aPolicy({ maxPerUser: 2 }))
    const userId = user()
    const start = async () => {
      await advance(1)
      return store.start(userId, aDevice)
    }
    const [first, second] = [await start(), await start()]
    await store.rotate({ userId, sid: first.session.sid, generation: 0 })
    const third = await start()
    t.same(third.ended, [first.session.sid], 'oldest by login, not by use')
    t.same(
      (await store.list(userId)).map(({ sid }) => sid),
      [third.session.sid, second.session.sid],
      'newest first'
    )
    t.equal((await store.rotate({ userId, sid: first.session.sid, generation: 1 })).kind, 'unknown')
  })

  await t.test('an adopted session counts for the limit as a login does, unless it is to end', async (t) => {
    for (const maxPerUser of [2, 70]) {
      const { store, now, advance } = await open(aPolicy({ maxPerUser }))
      const userId = user()
      const sids: string[] = []
      const listed = async () => (await store.list(userId, { limit: 1000 })).map(({ sid }) => sid).toReversed()
      const adopt = async (options?: { readonly endsOthers: boolean }) => {
        await advance(1)
        // After the losses that a stepped clock makes of entries that are no longer needed.
        const token = { userId, sid: randomId(), issuedAt: now() + 60, expiresAt: now() + 500 }
        t.equal(await store.adopt(token, aDevice, options), true)
        sids.push(token.sid)
        return token
      }
      for (let login = 0; login < maxPerUser; login++) {
        await advance(1)
        sids.push((await store.start(userId, aDevice)).session.sid)
      }
      for (let round = 0; round < 3; round++) await adopt()
      t.same(await listed(), sids.slice(3), 'each ends the oldest one')
      t.equal((await store.rotate({ userId, sid: sids[2] ?? '', generation: 0 })).kind, 'unknown')
      const again = await adopt()
      t.equal(await store.adopt(again, aDevice), false)
      t.same(await listed(), sids.slice(4), 'adopted again, it ends none')
      const { sid } = await adopt({ endsOthers: false })
      t.same(await listed(), sids.slice(4))
      t.equal(await store.revoke(userId, sid), true)
      t.same(await listed(), sids.slice(4, -1))
    }
  })

  await t.test('without rotation the token stays the newest', async (t) => {
    const { store, now, advance } = await open(aPolicy({ rotate: false, lifetime: 100 }))
    const userId = user()
    const { sid } = (await store.start(userId, aDevice)).session
    const end = now() + 100
    await advance(60)
    t.match(await store.rotate({ userId, sid, generation: 0 }), {
      kind: 'current',
      newest: { number: 0, expiresAt: end }
    })
    t.match(await store.rotate({ userId, sid, generation: 3 }), { kind: 'recovered', newest: { number: 3 } })
    t.match(await store.rotate({ userId, sid, generation: 3 }), { kind: 'current', newest: { number: 3 } })
    await advance(40)
    t.equal((await store.rotate({ userId, sid, generation: 3 })).kind, 'unknown')
  })

  await t.test('a session may have a lifetime of its own, and one generation', async (t) => {
    const { store, now, advance } = await open(aPolicy({ lifetime: 100, absoluteLifetime: 250 }))
    const userId = user()
    const { session } = await store.start(userId, aDevice, 200)
    const { sid } = session
    t.equal(session.expiresAt, now() + 200)
    t.equal((await store.start(userId, aDevice, 1000)).session.expiresAt, now() + 250, 'never beyond the absolute end')
    const keep = () => store.rotate({ userId, sid, generation: 0 }, false)
    for (const seconds of [0, 150]) {
      await advance(seconds)
      const verdicts = await Promise.all([keep(), keep(), keep()])
      for (const verdict of verdicts) {
        t.same(verdict, {
          kind: 'current',
          newest: { number: 0, issuedAt: session.createdAt, expiresAt: session.expiresAt }
        })
      }
      t.same(await store.find(userId, sid), { ...session, lastUsedAt: now() })
    }
    await advance(50)
    t.same(await keep(), { kind: 'unknown' })
    const another = (await store.start(userId, aDevice, 200)).session
    await store.revoke(userId, another.sid)
    t.same(await store.rotate({ userId, sid: another.sid, generation: 0 }, false), { kind: 'unknown' })
  })

  await t.test('random histories come out as decide says', async (t) => {
    const step = fc.record({
      wait: fc.constantFrom(0, 0, 1, 2, 5, 10, 11, 11, 40),
      back: fc.constantFrom(0, 0, 0, 1, 1, 2, 3, -1, -3)
    })
    const policies = fc.record({
      grace: fc.constantFrom(0, 1, 10, Number.POSITIVE_INFINITY),
      lateRetry: fc.constantFrom(0, 20, 1000),
      rotate: fc.constantFrom(true, true, true, false),
      lifetime: fc.constantFrom(30, 1000),
      absoluteLifetime: fc.constantFrom(120, 5000)
    })
    await fc.assert(
      fc.asyncProperty(policies, fc.array(step, { maxLength: 25 }), async (policy, steps) => {
        const { store, now, advance } = await open(aPolicy(policy))
        const userId = user()
        const { session } = await store.start(userId, aDevice)
        let model: Session | undefined = session
        for (const { wait, back } of steps) {
          await advance(wait)
          const generation = Math.max(0, (model?.generation ?? 0) - back)
          const decision = decide(model, generation, now(), aPolicy(policy))
          model = decision.session
          t.same(await store.rotate({ userId, sid: session.sid, generation }), decision.verdict)
          t.same(await store.find(userId, session.sid), model)
        }
      }),
      { numRuns: 100 }
    )
  })
}

import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { randomId } from '../../src/random.ts'
import { RevocationReplica, type RevocableClaims, type Revocations } from '../../src/sessions/revocations.ts'
import type { SessionPolicy } from '../../src/sessions/session.ts'
import type { RevocationFeed, RevocationFollower, SessionStore } from '../../src/sessions/store.ts'
import { makeManualClock, systemClock } from '../../src/time.ts'
import { aDevice, aPolicy } from '../support/makers.ts'
import { atMost } from '../support/slack.ts'

/** An empty feed, and session stores that announce in it. */
export interface OpenedFeed {
  readonly feed: RevocationFeed
  openSessions(policy: SessionPolicy): Promise<SessionStore>
}

export type OpenFeed = () => Promise<OpenedFeed>

/** How long a revocation matters, in seconds. */
export const window = 360

export const aReplica = (staleness = 30): Revocations => new RevocationReplica({ window, staleness }, systemClock)

/** What a token issued just now, after any loss of the list, says of its session. */
export const aToken = (sid: string | undefined): RevocableClaims => ({ sid, iat: systemClock() + 60 })

/** A replica that follows `feed` until the end of `t`. */
export async function follow(
  t: Pick<Test, 'teardown'>,
  feed: RevocationFeed,
  replica: Revocations = aReplica()
): Promise<Revocations & { readonly follower: RevocationFollower }> {
  const follower = await feed.follow(replica)
  t.teardown(() => follower.close())
  return Object.assign(replica, { follower })
}

/** Milliseconds until `isSo`, looked at every millisecond. Rejects when `atMost(most)` is over. */
export async function until(isSo: () => boolean | Promise<boolean>, most = 1000): Promise<number> {
  const began = performance.now()
  while (!(await isSo())) {
    if (performance.now() - began > atMost(most)) throw new Error(`not so after ${atMost(most)} ms: ${isSo}`)
    await delay(1)
  }
  return performance.now() - began
}

/** Starts a session; gives its place, as a token of generation 0 says it. */
export async function login(
  store: SessionStore,
  userId: string
): Promise<{ readonly userId: string; readonly sid: string; readonly generation: number }> {
  return { userId, sid: (await store.start(userId, aDevice)).session.sid, generation: 0 }
}

/** What every revocation feed must do, run over each of them by the real clock. */
export async function revocationFeedSuite(t: Test, open: OpenFeed): Promise<void> {
  await t.test('what was revoked before is loaded, what comes later arrives', async (t) => {
    const { feed, openSessions } = await open()
    const store = await openSessions(aPolicy())
    const [before, after, never] = [await login(store, 'ann'), await login(store, 'ann'), await login(store, 'ann')]
    await store.revoke('ann', before.sid)
    const replica = await follow(t, feed)
    t.equal(replica.has(aToken(before.sid)), true, 'loaded when following begins')
    t.equal(replica.has(aToken(after.sid)), false)
    await store.revoke('ann', after.sid)
    await until(() => replica.has(aToken(after.sid)), 1000)
    t.equal(replica.has(aToken(before.sid)), true)
    t.equal(replica.has(aToken(never.sid)), false)
  })

  await t.test('an access token is revoked alone', async (t) => {
    const { feed, openSessions } = await open()
    const store = await openSessions(aPolicy())
    const { userId, sid } = await login(store, 'ann')
    const [early, late] = [randomId(), randomId()]
    await store.revokeToken(early)
    const replica = await follow(t, feed)
    t.equal(replica.has({ jti: early }), true)
    await store.revokeToken(late)
    await store.revokeToken(late)
    await until(() => replica.has({ jti: late }), 1000)
    t.equal(replica.has(aToken(sid)), false)
    t.ok(await store.find(userId, sid), 'its session goes on')
  })

  await t.test('a revocation arrives at each of several followers', async (t) => {
    const { feed, openSessions } = await open()
    const store = await openSessions(aPolicy())
    const replicas = await Promise.all(Array.from({ length: 5 }, () => follow(t, feed)))
    const times: number[] = []
    for (let each = 0; each < 40; each++) {
      const { userId, sid } = await login(store, `user-${each}`)
      await store.revoke(userId, sid)
      times.push(await until(() => replicas.every((replica) => replica.has(aToken(sid))), 5000))
    }
    times.sort((a, b) => a - b)
    const [median, p90, longest] = [times[19]!, times[35]!, times[39]!].map((time) => time.toFixed(1))
    t.comment(`after the answer: ${median} ms (median), ${p90} ms (p90), ${longest} ms (longest)`)
  })

  await t.test('whatever ends a session announces it', async (t) => {
    const { feed, openSessions } = await open()
    const replica = await follow(t, feed)
    const isKnown = (sid: string) => until(() => replica.has(aToken(sid)), 1000)

    const limited = await openSessions(aPolicy({ maxPerUser: 2 }))
    const first = await login(limited, 'limited')
    const second = await login(limited, 'limited')
    t.same((await limited.start('limited', aDevice)).ended, [first.sid])
    await isKnown(first.sid)
    t.equal(replica.has(aToken(second.sid)), false, 'a login beyond the limit ends the oldest only')

    const adopted = { userId: 'limited', sid: randomId(), issuedAt: systemClock() + 60, expiresAt: systemClock() + 500 }
    t.equal(await limited.adopt(adopted, aDevice), true)
    await isKnown(second.sid)
    t.equal(replica.has(aToken(adopted.sid)), false, 'so does an adoption')

    const strict = await openSessions(aPolicy({ grace: 0 }))
    const stolen = await login(strict, 'stolen')
    t.equal((await strict.rotate(stolen)).kind, 'rotated')
    t.equal(replica.has(aToken(stolen.sid)), false, 'a refresh is none')
    t.equal((await strict.rotate(stolen)).kind, 'reused')
    await isKnown(stolen.sid)

    const store = await openSessions(aPolicy())
    const one = await login(store, 'one')
    t.equal(await store.revoke('one', one.sid), true)
    await isKnown(one.sid)

    const [kept, ...others] = [await login(store, 'all'), await login(store, 'all'), await login(store, 'all')]
    await store.revokeAll('all', kept?.sid)
    for (const { sid } of others) await isKnown(sid)
    t.equal(replica.has(aToken(kept?.sid)), false)
    await store.revokeAll('all')
    await isKnown(kept?.sid ?? '')
  })

  await t.test('more than one read brings', async (t) => {
    const { feed, openSessions } = await open()
    const store = await openSessions(aPolicy({ maxPerUser: 2000 }))
    const [early, late] = [await follow(t, feed), aReplica()]
    for (let each = 0; each < 1200; each += 100) await Promise.all(Array.from({ length: 100 }, () => login(store, 'u')))
    const sids = await store.revokeAll('u')
    t.equal(sids.length, 1200)
    await until(() => sids.every((sid) => early.has(aToken(sid))), 2000)
    const replica = await follow(t, feed, late)
    t.ok(
      sids.every((sid) => replica.has(aToken(sid))),
      'loaded whole before following begins'
    )
  })

  await t.test('a follower that is closed hears nothing any more', async (t) => {
    const { feed, openSessions } = await open()
    const store = await openSessions(aPolicy())
    const [closed, open_] = [await follow(t, feed), await follow(t, feed)]
    await closed.follower.close()
    const { userId, sid } = await login(store, 'ann')
    await store.revoke(userId, sid)
    await until(() => open_.has(aToken(sid)), 1000)
    await delay(100)
    t.equal(closed.has(aToken(sid)), false)
    await closed.follower.close()
  })

  await t.test('silence is neither a revocation nor a fault', async (t) => {
    const { feed } = await open()
    const steady = makeManualClock(0)
    const replica = new RevocationReplica({ window, staleness: 30 }, systemClock, steady)
    await follow(t, feed, replica)
    steady.advance(31)
    t.equal(replica.isStale(), true)
    await until(() => !replica.isStale())
    t.pass('the follower heard that there was nothing to hear')
  })
}

import fc from 'fast-check'
import t from 'tap'
import { decide } from '../../../src/sessions/rotation.ts'
import { type Session, type SessionPolicy, startSession } from '../../../src/sessions/session.ts'
import { aDevice, aPolicy } from '../../support/makers.ts'

const start = (policy: SessionPolicy, now = 1000): Session => startSession('u', 'f'.repeat(32), aDevice, now, policy)

/** Presents generations to one session, so many seconds after its start: the verdicts, in order. */
function play(policy: SessionPolicy, steps: readonly (readonly [now: number, generation: number])[]): string[] {
  let session: Session | undefined = start(policy, 1000)
  return steps.map(([now, generation]) => {
    const decision = decide(session, generation, 1000 + now, policy)
    session = decision.session
    const { verdict } = decision
    return 'newest' in verdict ? `${verdict.kind} ${verdict.newest.number}` : verdict.kind
  })
}

t.test('the table of verdicts', async (t) => {
  const policy = aPolicy({ grace: 10 })
  t.same(play(policy, [[5, 0]]), ['rotated 1'])
  t.same(
    play(policy, [
      [5, 0],
      [15, 0]
    ]),
    ['rotated 1', 'retried 1'],
    'the last second of the grace'
  )
  t.same(
    play(policy, [
      [5, 0],
      [16, 0]
    ]),
    ['rotated 1', 'reused']
  )
  t.same(
    play(policy, [
      [5, 0],
      [16, 0],
      [16, 1]
    ]),
    ['rotated 1', 'reused', 'unknown'],
    'a reuse ends the session'
  )
  t.same(play(policy, [[5, 4]]), ['recovered 5'])
  t.same(
    play(policy, [
      [5, 4],
      [6, 4]
    ]),
    ['recovered 5', 'retried 5']
  )
  t.same(play(aPolicy({ lifetime: 50 }), [[50, 0]]), ['unknown'], 'expiry equal to now is expired')
})

t.test('a chained burst does not log the user out', async (t) => {
  const chain = [
    [5, 0],
    [5, 1],
    [5, 2]
  ] as const
  t.same(play(aPolicy(), [...chain, [6, 0], [6, 1], [6, 2]]).slice(3), ['retried 3', 'retried 3', 'retried 3'])
  t.same(play(aPolicy(), [...chain, [15, 0]]).at(-1), 'retried 3', 'the anchor counts from the first of the burst')
  t.same(play(aPolicy(), [...chain, [16, 0]]).at(-1), 'reused')
})

t.test('presenting an old token again and again extends nothing', async (t) => {
  t.same(
    play(aPolicy(), [
      [5, 0],
      [10, 0],
      [14, 0],
      [15, 0],
      [16, 0]
    ]).at(-1),
    'reused'
  )
  t.same(
    play(aPolicy(), [
      [5, 0],
      [12, 1],
      [15, 0],
      [16, 0]
    ]).slice(2),
    ['retried 2', 'reused'],
    'a second rotation in the burst does not move its anchor'
  )
})

t.test('a rotation after the burst sets a new anchor', async (t) => {
  t.same(
    play(aPolicy(), [
      [5, 0],
      [16, 1],
      [17, 0]
    ]).at(-1),
    'reused',
    'the old burst is over'
  )
  t.same(
    play(aPolicy(), [
      [5, 0],
      [16, 1],
      [17, 2],
      [26, 1]
    ]).at(-1),
    'retried 3'
  )
})

t.test('a burst soon after another does not log the user out either', async (t) => {
  const bursts = [
    [0, 0],
    [9, 1],
    [9, 2]
  ] as const
  t.same(play(aPolicy(), [...bursts, [11, 1], [19, 1]]).slice(3), ['retried 3', 'retried 3'])
  t.same(play(aPolicy(), [...bursts, [11, 0]]).at(-1), 'reused', 'but not one that was superseded before')
  t.same(play(aPolicy(), [...bursts, [20, 1]]).at(-1), 'reused')
})

t.test('a rotation in the last second of the grace belongs to the burst, one second later it does not', async (t) => {
  // The record has the times of the last four supersessions: what was superseded before them is in grace only by the anchor.
  const rotations = (now: number, first: number) =>
    Array.from({ length: 5 }, (_, index) => [now, first + index] as const)
  t.same(play(aPolicy(), [...rotations(5, 0), [15, 5], [15, 0]]).at(-1), 'retried 6')
  t.same(play(aPolicy(), [...rotations(5, 0), [15, 5], [16, 0]]).at(-1), 'reused')
  t.same(play(aPolicy(), [...rotations(5, 0), ...rotations(16, 5), [26, 5]]).at(-1), 'retried 10')
  t.same(play(aPolicy(), [...rotations(5, 0), ...rotations(16, 5), [16, 4]]).at(-1), 'reused')
})

t.test('without a grace, or with one that never ends', async (t) => {
  t.same(
    play(aPolicy({ grace: 0 }), [
      [5, 0],
      [5, 0]
    ]),
    ['rotated 1', 'reused']
  )
  const never = aPolicy({ grace: Number.POSITIVE_INFINITY })
  t.same(
    play(never, [
      [5, 0],
      [100, 1],
      [10_000, 0]
    ]).at(-1),
    'retried 2'
  )
})

const day = 86_400
const late = aPolicy({ lateRetry: day, lifetime: 2 * day })

t.test(
  'late: a token whose successor was never presented is answered after the grace, as often as it comes',
  async (t) => {
    t.same(
      play(late, [
        [5, 0],
        [16, 0],
        [5 + day, 0],
        [6 + day, 1]
      ]),
      ['rotated 1', 'late 1', 'late 1', 'rotated 2']
    )
    t.same(
      play(late, [
        [5, 0],
        [6 + day, 0]
      ]).at(-1),
      'reused',
      'a second after REFRESH_LATE_RETRY'
    )
    t.same(
      play(aPolicy({ lateRetry: 0 }), [
        [5, 0],
        [16, 0]
      ]).at(-1),
      'reused',
      'turned off'
    )
  }
)

t.test('late: an ancestor of a token that was presented ends the session', async (t) => {
  t.same(
    play(late, [
      [5, 0],
      [16, 0],
      [17, 1],
      [40, 0]
    ]).at(-1),
    'reused'
  )
  t.same(
    play(late, [
      [5, 0],
      [20, 1],
      [40, 0]
    ]).at(-1),
    'reused'
  )
})

t.test('late: a second generation within eight rotations is theft, after eight it is not', async (t) => {
  // A late retry for generation 1, then one rotation after another, and a late retry for a generation that far on.
  const second = (rotations: number) => {
    const chain = Array.from({ length: rotations }, (_, each) => [100 + 20 * each, 1 + each] as const)
    return play(late, [[5, 0], [16, 0], ...chain, [1000, rotations]]).at(-1)
  }
  for (const rotations of [1, 2, 7]) t.equal(second(rotations), 'reused', `${rotations} rotations after the first`)
  t.equal(second(8), 'late 9')
  t.equal(second(20), 'late 21')
})

t.test('late: a token that was presented while rotation was off counts as presented', async (t) => {
  const [off, on] = [{ ...late, rotate: false }, late]
  let session: Session | undefined = start(on)
  for (const [now, presented, policy] of [
    [1005, 0, on],
    [1020, 1, off]
  ] as const)
    session = decide(session, presented, now, policy).session
  t.equal(decide(session, 0, 1040, off).verdict.kind, 'reused')
  t.equal(decide(session, 0, 1040, on).verdict.kind, 'reused')
})

t.test('whatever comes, in whatever order', async (t) => {
  const steps = fc.array(fc.record({ wait: fc.nat(30), back: fc.integer({ min: -2, max: 4 }) }), { maxLength: 60 })
  fc.assert(
    fc.property(fc.nat(60), fc.constantFrom(0, 30, 200), steps, (grace, lateRetry, steps) => {
      const policy = aPolicy({ grace, lateRetry, lifetime: 100, absoluteLifetime: 400 })
      let presentedMost = -1
      let lateAt = Number.NEGATIVE_INFINITY
      const born = start(policy)
      let [session, now]: [Session | undefined, number] = [born, born.createdAt]
      const supersededAt = new Map<number, number>()
      const lateGrants = new Map<number, number>()
      for (const { wait, back } of steps) {
        now += wait
        const before: Session | undefined = session
        const presented = Math.max(0, (before?.generation ?? 0) - back)
        const { verdict, session: after } = decide(before, presented, now, policy)
        session = after
        if (before === undefined) return verdict.kind === 'unknown'
        if (after !== undefined && after.absoluteExp !== born.absoluteExp) return false
        if (after !== undefined && after.expiresAt > born.absoluteExp) return false
        const since = supersededAt.get(presented)
        const graceFrom = lateGrants.get(presented) ?? since
        // An ancestor never gets in later than the grace after it was superseded, and never a successor of its own.
        if (verdict.kind === 'retried' && (graceFrom === undefined || now - graceFrom > grace)) return false
        if (verdict.kind === 'retried' && after?.generation !== before.generation) return false
        if (verdict.kind === 'late') {
          if (after?.generation !== before.generation || presentedMost >= before.generation) return false
          if (presented !== before.generation - 1 || since === undefined || now - since > lateRetry) return false
          if (before.generation !== lateAt && before.generation - lateAt < 8) return false
          lateAt = before.generation
          lateGrants.set(presented, now)
        }
        if (verdict.kind !== 'reused') presentedMost = Math.max(presentedMost, presented)
        // The immediate predecessor always gets in within the grace.
        if (
          verdict.kind === 'reused' &&
          presented === before.generation - 1 &&
          grace > 0 &&
          now - before.rotatedAt <= grace
        )
          return false
        if (verdict.kind === 'rotated' || verdict.kind === 'recovered') {
          for (let each = before.generation; each <= presented; each++) supersededAt.set(each, now)
        }
      }
      return true
    }),
    { numRuns: 5000 }
  )
  t.pass('5000 histories')
})

import fc from 'fast-check'
import t from 'tap'
import { backOff, type Member, type Plan, plan, type Wanted } from '../../../src/cluster/plan.ts'

const now = 100_000

/** A member that has beaten just now, but for what the case is about. Members are born in the order of their ids. */
const a = (id: number, state: Member['state'], changes: Partial<Member> = {}): Member => ({
  id,
  state,
  isSpent: false,
  beatAt: now,
  ...changes
})
const wanted = (count: number, changes: Partial<Wanted> = {}): Wanted => ({
  count,
  timeout: 10_000,
  startAt: 0,
  mayRelieve: true,
  ...changes
})
const nothing: Plan = { start: 0, drain: [], abort: [], kill: [] }

t.test('who is started, drained, aborted and killed', async (t) => {
  const spent = { isSpent: true }
  const silent = { beatAt: now - 10_001 }
  const hung = { beatAt: now - 30_001 }
  const rows: readonly (readonly [what: string, Member[], Wanted, Partial<Plan>])[] = [
    ['nobody is there', [], wanted(2), { start: 2 }],
    ['as many boot', [a(1, 'booting'), a(2, 'booting')], wanted(2), {}],
    ['all is well', [a(1, 'ready'), a(2, 'ready')], wanted(2), {}],
    ['one is gone', [a(2, 'ready')], wanted(2), { start: 1 }],
    ['and it is too early to try again', [a(2, 'ready')], wanted(2, { startAt: now + 1 }), {}],
    ['and it is time to', [a(2, 'ready')], wanted(2, { startAt: now }), { start: 1 }],
    ['who drains does not count', [a(1, 'draining'), a(2, 'ready')], wanted(2), { start: 1 }],

    ['one more is wanted', [a(1, 'ready')], wanted(2), { start: 1 }],
    ['one less is wanted: the oldest goes', [a(1, 'ready'), a(2, 'ready')], wanted(1), { drain: [1] }],
    [
      'but first who boots, the youngest',
      [a(1, 'ready'), a(2, 'booting'), a(3, 'booting')],
      wanted(1),
      { drain: [3, 2] }
    ],
    ['none is wanted', [a(1, 'ready'), a(2, 'booting')], wanted(0), { drain: [2, 1] }],

    ['a spent one is replaced first', [a(1, 'ready', spent), a(2, 'ready')], wanted(2), { start: 1 }],
    ['and waits', [a(1, 'ready', spent), a(2, 'ready'), a(3, 'booting')], wanted(2), {}],
    ['and goes', [a(1, 'ready', spent), a(2, 'ready'), a(3, 'ready')], wanted(2), { drain: [1] }],
    ['a reload', [a(1, 'ready', spent), a(2, 'ready', spent)], wanted(2), { start: 2 }],
    ['half done', [a(1, 'ready', spent), a(2, 'ready', spent), a(3, 'ready'), a(4, 'booting')], wanted(2), {}],
    [
      'done',
      [a(1, 'ready', spent), a(2, 'booting', spent), a(3, 'ready'), a(4, 'ready')],
      wanted(2),
      { drain: [1, 2] }
    ],
    ['but not as long as it may not', [a(1, 'ready', spent), a(2, 'ready')], wanted(1, { mayRelieve: false }), {}],
    ['spent ones are no surplus', [a(1, 'ready', spent), a(2, 'ready')], wanted(1), { drain: [1] }],

    ['a silent one is replaced at once', [a(1, 'ready', silent), a(2, 'ready')], wanted(2), { start: 1, abort: [1] }],
    ['not in its last millisecond', [a(1, 'ready', { beatAt: now - 10_000 })], wanted(1), {}],
    ['never without a timeout', [a(1, 'ready', { beatAt: 0 })], wanted(1, { timeout: 0 }), {}],
    ['it is aborted once', [a(1, 'ready', { ...silent, abortedAt: now - 499 }), a(2, 'ready')], wanted(1), {}],
    ['then killed', [a(1, 'ready', { ...silent, abortedAt: now - 500 }), a(2, 'ready')], wanted(1), { kill: [1] }],
    ['a beat that came too late saves nobody', [a(1, 'ready', { abortedAt: now })], wanted(1), { start: 1 }],
    [
      'who drains may be silent for longer',
      [a(1, 'draining', silent), a(2, 'draining', hung)],
      wanted(0),
      { abort: [2] }
    ],
    ['a boot takes longer', [a(1, 'booting', { beatAt: now - 30_000 })], wanted(1), {}],
    ['but not for ever, and keeps its place until it is dead', [a(1, 'booting', hung)], wanted(1), { abort: [1] }],
    ['as here', [a(1, 'booting', { ...hung, abortedAt: now - 1 })], wanted(1), {}],
    ['as long as all may', [a(1, 'booting', hung)], wanted(1, { timeout: 60_000 }), {}],

    ['one that drains too long', [a(1, 'draining', { killAt: now }), a(2, 'ready')], wanted(1), { kill: [1] }],
    ['not before', [a(1, 'draining', { killAt: now + 1 }), a(2, 'ready')], wanted(1), {}]
  ]
  for (const [what, members, want, expected] of rows)
    t.same(plan(members, want, now), { ...nothing, ...expected }, what)
})

t.test('the first try comes at once, then each failure in a row waits longer', async (t) => {
  t.same([0, 1, 2, 3, 4, 5, 6, 7, 8, 1000].map(backOff), [0, 0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
})

const instant = fc.integer({ min: now - 60_000, max: now })
const someMembers: fc.Arbitrary<Member[]> = fc
  .array(
    fc.record(
      {
        state: fc.constantFrom<Member['state']>('booting', 'ready', 'ready', 'draining'),
        isSpent: fc.boolean(),
        beatAt: instant,
        abortedAt: instant,
        killAt: fc.integer({ min: now - 5000, max: now + 5000 })
      },
      { requiredKeys: ['state', 'isSpent', 'beatAt'] }
    ),
    { maxLength: 9 }
  )
  .map((list) =>
    list.map(({ killAt, ...each }, index) => ({
      ...each,
      id: index + 1,
      ...(each.state === 'draining' && killAt !== undefined ? { killAt } : {})
    }))
  )
const someWanted: fc.Arbitrary<Wanted> = fc.record({
  count: fc.integer({ min: 0, max: 5 }),
  timeout: fc.constantFrom(0, 10_000),
  startAt: fc.constantFrom(0, now, now + 1),
  mayRelieve: fc.boolean()
})

/** The members once a plan is carried out. Who was killed is not dead yet. */
const carryOut = (members: readonly Member[], { start, drain, abort }: Plan): Member[] => [
  ...members.map((each) => ({
    ...each,
    ...(drain.includes(each.id) ? { state: 'draining' as const } : {}),
    ...(abort.includes(each.id) ? { abortedAt: now } : {})
  })),
  ...Array.from({ length: start }, (_, index) => a(1000 + index, 'booting'))
]
const serving = (members: readonly Member[], { timeout }: Wanted): number =>
  members.filter(
    ({ state, abortedAt, beatAt }) =>
      state === 'ready' && abortedAt === undefined && (timeout === 0 || now - beatAt <= timeout)
  ).length

t.test('no plan leaves fewer ready than wanted, if so many are there', async () => {
  fc.assert(
    fc.property(someMembers, someWanted, (members, want) => {
      const after = carryOut(members, plan(members, want, now))
      return serving(after, want) >= Math.min(want.count, serving(members, want))
    })
  )
})

t.test('a plan that was carried out leaves nothing to do, but to kill again who is not dead yet', async () => {
  fc.assert(
    fc.property(someMembers, someWanted, (members, want) => {
      const first = plan(members, want, now)
      const { start, drain, abort, kill } = plan(carryOut(members, first), want, now)
      return start + drain.length + abort.length === 0 && `${kill}` === `${first.kill}`
    })
  )
})

t.test('nobody is started beyond what is wanted', async () => {
  const fresh = (members: readonly Member[]): number =>
    members.filter(({ state, isSpent }) => state !== 'draining' && !isSpent).length
  fc.assert(
    fc.property(someMembers, someWanted, (members, want) => {
      // Whoever is silent is as good as gone.
      const alive = members.filter(({ state, beatAt, abortedAt }) => {
        const isSilent = abortedAt !== undefined || (want.timeout > 0 && now - beatAt > want.timeout)
        return !(state === 'ready' && isSilent)
      })
      return fresh(carryOut(alive, plan(members, want, now))) <= Math.max(want.count, fresh(alive))
    })
  )
})

/* What a simulated arbiter lives through, a tick of 250 ms each. */
type Trouble = 'none' | 'crash' | 'hang' | 'stopped' | 'reload' | 'more' | 'fewer' | 'spent'
const tick = 250
const troubles = fc.array(
  fc.constantFrom<Trouble>('none', 'none', 'none', 'crash', 'hang', 'stopped', 'reload', 'more', 'fewer', 'spent'),
  { maxLength: 200 }
)

interface Simulated extends Member {
  readonly bootsUntil: number
  readonly drainsUntil?: number
  /** It beats no more. */
  readonly isHung?: boolean
  /** It does not die of SIGABRT. */
  readonly isStopped?: boolean
}

t.test('whatever happens, it comes back to as many ready ones as wanted', async () => {
  fc.assert(
    fc.property(troubles, fc.array(fc.nat(3000), { minLength: 7, maxLength: 7 }), (story, spans) => {
      const quiet = Array.from<Trouble>({ length: 500 }).fill('none')
      const { members, count, fewest } = simulate([...story, ...quiet], spans)
      const isHarmless = story.every((trouble) => !['crash', 'hang', 'stopped'].includes(trouble))
      const isSettled = members.every(({ state, isSpent }) => state === 'ready' && !isSpent)
      return isSettled && members.length === count && (!isHarmless || fewest === 0)
    })
  )
})

/** `spans` are how long boots and drains take, in turn. `fewest` is how many more than wanted were ready at the worst. */
function simulate(story: readonly Trouble[], spans: readonly number[]) {
  let [members, count, lastId, failures, startAt]: [Simulated[], number, number, number, number] = [[], 3, 0, 0, 0]
  let fewest = 0
  let wereReady = 0
  const span = (): number => spans[lastId % spans.length] ?? 0
  for (const [index, trouble] of story.entries()) {
    const at = index * tick
    const victim = members[index % Math.max(1, members.length)]
    const change = (changes: Partial<Simulated>): void => {
      members = members.map((each) => (each === victim ? { ...each, ...changes } : each))
    }
    if (trouble === 'crash' && victim !== undefined) {
      members = members.filter((each) => each !== victim)
      if (victim.state !== 'draining') startAt = at + backOff(++failures)
    }
    if (trouble === 'hang') change({ isHung: true })
    if (trouble === 'stopped') change({ isHung: true, isStopped: true })
    if (trouble === 'spent') change({ isSpent: true })
    if (trouble === 'reload') members = members.map((each) => ({ ...each, isSpent: true }))
    if (trouble === 'more') count += 1
    if (trouble === 'fewer') count = Math.max(1, count - 1)

    members = members
      .filter(({ drainsUntil }) => drainsUntil === undefined || at < drainsUntil)
      .map((each) => ({
        ...each,
        state: each.state === 'booting' && !each.isHung && at >= each.bootsUntil ? 'ready' : each.state,
        beatAt: each.isHung ? each.beatAt : at
      }))
    const todo = plan(members, { count, timeout: 2000, startAt, mayRelieve: true }, at)
    const isDead = ({ id, isStopped }: Simulated) =>
      todo.kill.includes(id) || (todo.abort.includes(id) && isStopped !== true)
    failures = members.some((each) => isDead(each)) ? failures + 1 : failures
    members = members
      .filter((each) => !isDead(each))
      .map((each) => ({
        ...each,
        ...(todo.abort.includes(each.id) ? { abortedAt: at } : {}),
        ...(todo.drain.includes(each.id) ? { state: 'draining', drainsUntil: at + span(), killAt: at + 4000 } : {})
      }))
    for (let n = 0; n < todo.start; n += 1) {
      lastId += 1
      members.push({ id: lastId, state: 'booting', isSpent: false, beatAt: at, bootsUntil: at + span() })
    }
    const ready = members.filter(({ state }) => state === 'ready').length
    if (wereReady >= count) fewest = Math.min(fewest, ready - count)
    wereReady = ready
  }
  return { members, count, fewest }
}

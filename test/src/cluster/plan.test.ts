import fc from 'fast-check'
import t from 'tap'
import { backOff, type Member, type Plan, plan, type Wanted } from '../../../src/cluster/plan.ts'

const now = 100_000

/** A member that has just sent a heartbeat, but for `changes`. Members started in the order of their ids. */
const a = (id: number, state: Member['state'], changes: Partial<Member> = {}): Member => ({
  id,
  state,
  needsReplacement: false,
  beatAt: now,
  ...changes
})
const wanted = (count: number, changes: Partial<Wanted> = {}): Wanted => ({
  count,
  timeout: 10_000,
  startAt: 0,
  mayRetire: true,
  ...changes
})
const nothing: Plan = { start: 0, drain: [], abort: [], kill: [] }

t.test('plan: which members are started, drained, aborted and killed', async (t) => {
  const spent = { needsReplacement: true }
  const silent = { beatAt: now - 10_001 }
  const hung = { beatAt: now - 30_001 }
  const rows: readonly (readonly [what: string, Member[], Wanted, Partial<Plan>])[] = [
    ['no member is running', [], wanted(2), { start: 2 }],
    ['as many as wanted are booting', [a(1, 'booting'), a(2, 'booting')], wanted(2), {}],
    ['all are ready', [a(1, 'ready'), a(2, 'ready')], wanted(2), {}],
    ['one has exited', [a(2, 'ready')], wanted(2), { start: 1 }],
    ['one has exited, during the back-off', [a(2, 'ready')], wanted(2, { startAt: now + 1 }), {}],
    ['one has exited, at the end of the back-off', [a(2, 'ready')], wanted(2, { startAt: now }), { start: 1 }],
    ['a draining member does not count', [a(1, 'draining'), a(2, 'ready')], wanted(2), { start: 1 }],

    ['one more is wanted', [a(1, 'ready')], wanted(2), { start: 1 }],
    ['one fewer is wanted: the oldest drains', [a(1, 'ready'), a(2, 'ready')], wanted(1), { drain: [1] }],
    [
      'of a surplus, members that boot drain first, the youngest before the others',
      [a(1, 'ready'), a(2, 'booting'), a(3, 'booting')],
      wanted(1),
      { drain: [3, 2] }
    ],
    ['none is wanted', [a(1, 'ready'), a(2, 'booting')], wanted(0), { drain: [2, 1] }],

    [
      'a replacement starts before the old member drains',
      [a(1, 'ready', spent), a(2, 'ready')],
      wanted(2),
      { start: 1 }
    ],
    [
      'the old member waits while its replacement boots',
      [a(1, 'ready', spent), a(2, 'ready'), a(3, 'booting')],
      wanted(2),
      {}
    ],
    [
      'the old member drains once its replacement is ready',
      [a(1, 'ready', spent), a(2, 'ready'), a(3, 'ready')],
      wanted(2),
      { drain: [1] }
    ],
    ['a reload starts as many as wanted', [a(1, 'ready', spent), a(2, 'ready', spent)], wanted(2), { start: 2 }],
    [
      'a reload with one of two new members ready drains none',
      [a(1, 'ready', spent), a(2, 'ready', spent), a(3, 'ready'), a(4, 'booting')],
      wanted(2),
      {}
    ],
    [
      'a reload with both new members ready drains all old ones',
      [a(1, 'ready', spent), a(2, 'booting', spent), a(3, 'ready'), a(4, 'ready')],
      wanted(2),
      { drain: [1, 2] }
    ],
    [
      'no old member drains while it may not retire',
      [a(1, 'ready', spent), a(2, 'ready')],
      wanted(1, { mayRetire: false }),
      {}
    ],
    [
      'of a surplus, members that need replacement drain',
      [a(1, 'ready', spent), a(2, 'ready')],
      wanted(1),
      { drain: [1] }
    ],

    [
      'a silent member is aborted, and replaced at once',
      [a(1, 'ready', silent), a(2, 'ready')],
      wanted(2),
      { start: 1, abort: [1] }
    ],
    [
      'a member is not silent in the last millisecond of its timeout',
      [a(1, 'ready', { beatAt: now - 10_000 })],
      wanted(1),
      {}
    ],
    ['without a timeout no member is silent', [a(1, 'ready', { beatAt: 0 })], wanted(1, { timeout: 0 }), {}],
    ['a member is aborted once', [a(1, 'ready', { ...silent, abortedAt: now - 499 }), a(2, 'ready')], wanted(1), {}],
    [
      'an aborted member is killed after half a second',
      [a(1, 'ready', { ...silent, abortedAt: now - 500 }), a(2, 'ready')],
      wanted(1),
      { kill: [1] }
    ],
    ['a heartbeat after the abort does not count', [a(1, 'ready', { abortedAt: now })], wanted(1), { start: 1 }],
    [
      'a draining member may be silent for longer',
      [a(1, 'draining', silent), a(2, 'draining', hung)],
      wanted(0),
      { abort: [2] }
    ],
    ['a booting member may be silent for longer', [a(1, 'booting', { beatAt: now - 30_000 })], wanted(1), {}],
    [
      'a boot that hangs is aborted, and keeps its place until the process is dead',
      [a(1, 'booting', hung)],
      wanted(1),
      { abort: [1] }
    ],
    ['an aborted boot keeps its place', [a(1, 'booting', { ...hung, abortedAt: now - 1 })], wanted(1), {}],
    ['a boot may take as long as a longer timeout', [a(1, 'booting', hung)], wanted(1, { timeout: 60_000 }), {}],

    [
      'a member that drains too long is killed',
      [a(1, 'draining', { killAt: now }), a(2, 'ready')],
      wanted(1),
      { kill: [1] }
    ],
    ['a member is not killed before its time', [a(1, 'draining', { killAt: now + 1 }), a(2, 'ready')], wanted(1), {}]
  ]
  for (const [what, members, want, expected] of rows)
    t.same(plan(members, want, now), { ...nothing, ...expected }, what)
})

t.test('backOff: the first retry comes at once, then each failure in a row waits longer', async (t) => {
  t.same([0, 1, 2, 3, 4, 5, 6, 7, 8, 1000].map(backOff), [0, 0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
})

const instant = fc.integer({ min: now - 60_000, max: now })
const someMembers: fc.Arbitrary<Member[]> = fc
  .array(
    fc.record(
      {
        state: fc.constantFrom<Member['state']>('booting', 'ready', 'ready', 'draining'),
        needsReplacement: fc.boolean(),
        beatAt: instant,
        abortedAt: instant,
        killAt: fc.integer({ min: now - 5000, max: now + 5000 })
      },
      { requiredKeys: ['state', 'needsReplacement', 'beatAt'] }
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
  mayRetire: fc.boolean()
})

/** The members once a plan is carried out. Killed members are not dead yet. */
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

t.test('plan: never leaves fewer ready members than wanted, if there were enough', async () => {
  fc.assert(
    fc.property(someMembers, someWanted, (members, want) => {
      const after = carryOut(members, plan(members, want, now))
      return serving(after, want) >= Math.min(want.count, serving(members, want))
    })
  )
})

t.test('plan: once carried out nothing is left to do, except to kill again what is not dead yet', async () => {
  fc.assert(
    fc.property(someMembers, someWanted, (members, want) => {
      const first = plan(members, want, now)
      const { start, drain, abort, kill } = plan(carryOut(members, first), want, now)
      return start + drain.length + abort.length === 0 && `${kill}` === `${first.kill}`
    })
  )
})

t.test('plan: starts no more members than wanted', async () => {
  const fresh = (members: readonly Member[]): number =>
    members.filter(({ state, needsReplacement }) => state !== 'draining' && !needsReplacement).length
  fc.assert(
    fc.property(someMembers, someWanted, (members, want) => {
      // A silent member counts as lost.
      const alive = members.filter(({ state, beatAt, abortedAt }) => {
        const isSilent = abortedAt !== undefined || (want.timeout > 0 && now - beatAt > want.timeout)
        return !(state === 'ready' && isSilent)
      })
      return fresh(carryOut(alive, plan(members, want, now))) <= Math.max(want.count, fresh(alive))
    })
  )
})

/* What happens to a simulated arbiter, in ticks of 250 ms. */
type Trouble = 'none' | 'crash' | 'hang' | 'stopped' | 'reload' | 'more' | 'fewer' | 'spent'
const tick = 250
const troubles = fc.array(
  fc.constantFrom<Trouble>('none', 'none', 'none', 'crash', 'hang', 'stopped', 'reload', 'more', 'fewer', 'spent'),
  { maxLength: 200 }
)

interface Simulated extends Member {
  readonly bootsUntil: number
  readonly drainsUntil?: number
  /** It sends no more heartbeats. */
  readonly isHung?: boolean
  /** SIGABRT does not end it. */
  readonly isStopped?: boolean
}

t.test(
  'plan: after any sequence of crashes, hangs, reloads and resizes, as many members as wanted are ready',
  async () => {
    fc.assert(
      fc.property(troubles, fc.array(fc.nat(3000), { minLength: 7, maxLength: 7 }), (story, spans) => {
        const quiet = Array.from<Trouble>({ length: 500 }).fill('none')
        const { members, count, fewest } = simulate([...story, ...quiet], spans)
        const isHarmless = story.every((trouble) => !['crash', 'hang', 'stopped'].includes(trouble))
        const isSettled = members.every(({ state, needsReplacement }) => state === 'ready' && !needsReplacement)
        return isSettled && members.length === count && (!isHarmless || fewest === 0)
      })
    )
  }
)

/** `spans`: how long boots and drains take, in turn. `fewest`: the lowest surplus of ready members over those wanted. */
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
    if (trouble === 'spent') change({ needsReplacement: true })
    if (trouble === 'reload') members = members.map((each) => ({ ...each, needsReplacement: true }))
    if (trouble === 'more') count += 1
    if (trouble === 'fewer') count = Math.max(1, count - 1)

    members = members
      .filter(({ drainsUntil }) => drainsUntil === undefined || at < drainsUntil)
      .map((each) => ({
        ...each,
        state: each.state === 'booting' && !each.isHung && at >= each.bootsUntil ? 'ready' : each.state,
        beatAt: each.isHung ? each.beatAt : at
      }))
    const todo = plan(members, { count, timeout: 2000, startAt, mayRetire: true }, at)
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
      members.push({ id: lastId, state: 'booting', needsReplacement: false, beatAt: at, bootsUntil: at + span() })
    }
    const ready = members.filter(({ state }) => state === 'ready').length
    if (wereReady >= count) fewest = Math.min(fewest, ready - count)
    wereReady = ready
  }
  return { members, count, fewest }
}

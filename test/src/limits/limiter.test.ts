import t from 'tap'
import { KeyturnError } from '../../../src/errors.ts'
import { type Count, type Counters, makeOwnCounters } from '../../../src/limits/counters.ts'
import { makeLimiter } from '../../../src/limits/limiter.ts'
import { makeManualClock } from '../../../src/time.ts'

/** Counters that answer or fail as `state` says, and how many calls they received. */
function aStore(clock = makeManualClock()) {
  const counters = makeOwnCounters(clock)
  const store = {
    state: 'up' as 'up' | 'refusing' | 'open',
    calls: 0,
    async add(name: string, window: number): Promise<Count> {
      store.calls += 1
      if (store.state === 'refusing') throw new Error('ECONNREFUSED')
      if (store.state === 'open') throw new KeyturnError('STORE_DOWN', { detail: 'Redis: circuit open' })
      return counters.add(name, window)
    }
  } satisfies Counters & { state: string; calls: number }
  return store
}

t.test('own counters: a window begins with its first, and ends', async (t) => {
  const clock = makeManualClock()
  const counters = makeOwnCounters(clock)
  t.same(await counters.add('a', 60), { number: 1, left: 60 })
  clock.advance(59)
  t.same(await counters.add('a', 60), { number: 2, left: 1 })
  t.same(await counters.add('b', 60), { number: 1, left: 60 }, 'each name has its own')
  t.same(counters.find('a'), { number: 2, left: 1 })
  clock.advance(1)
  t.equal(counters.find('a'), undefined)
  t.same(await counters.add('a', 60), { number: 1, left: 60 })
})

t.test('own counters forget whom they have not heard of for longest', async (t) => {
  const counters = makeOwnCounters(makeManualClock(), 3)
  for (const name of ['a', 'b', 'a', 'c', 'd']) await counters.add(name, 60)
  t.same(
    ['a', 'b', 'c', 'd'].map((name) => counters.find(name)?.number),
    [2, undefined, 1, 1]
  )
})

t.test('processes count together, and what is used up is known without asking', async (t) => {
  const clock = makeManualClock()
  const store = aStore(clock)
  const [one, other] = [makeLimiter(store, makeOwnCounters(clock)), makeLimiter(store, makeOwnCounters(clock))]
  const limit = { max: 2, window: 60, isClosed: true }
  t.equal((await one.count('a', limit)).number, 1)
  t.equal(one.waitFor('a', limit), undefined)
  t.equal((await other.count('a', limit)).number, 2)
  t.equal(other.waitFor('a', limit), 60)
  clock.advance(10)
  t.same(await one.count('a', limit), { number: 3, left: 50 })
  t.equal(store.calls, 3)
  for (let each = 4; each < 10; each++) t.equal((await one.count('a', limit)).number, each)
  t.equal(store.calls, 3, 'a refused request costs the store nothing')
  clock.advance(50)
  t.equal((await one.count('a', limit)).number, 1, 'until the window ends')
  t.equal(store.calls, 4)
})

t.test('an outage closes the limits that are to be closed; the others go on from what was heard last', async (t) => {
  const store = aStore()
  const limiter = makeLimiter(store, makeOwnCounters())
  const limit = { max: 3, window: 60, isClosed: false }
  await limiter.count('a', limit)
  store.state = 'refusing'
  await t.rejects(limiter.count('a', { ...limit, isClosed: true }), { code: 'STORE_DOWN', status: 503, retryAfter: 1 })
  t.equal((await limiter.count('a', limit)).number, 2)
  t.equal((await limiter.count('a', limit)).number, 3)
  t.ok(limiter.waitFor('a', limit))
  store.state = 'up'
  t.equal((await limiter.count('a', limit)).number, 2, 'then all count together again')
})

t.test('the beginning and the end of an outage are reported once, and not what a circuit reports itself', async (t) => {
  const store = aStore()
  const reported: unknown[] = []
  const limiter = makeLimiter(store, makeOwnCounters(), (error) => reported.push((error as Error | undefined)?.message))
  const limit = { max: 9, window: 60, isClosed: false }
  for (const state of ['up', 'refusing', 'open', 'refusing', 'open', 'up', 'open', 'up'] as const) {
    store.state = state
    await limiter.count('a', limit)
  }
  t.same(reported, ['ECONNREFUSED', undefined])
})

import t from 'tap'
import { type Count, type Counters, makeOwnCounters } from '../../../src/limits/counters.ts'
import { makeLimiter } from '../../../src/limits/limiter.ts'
import { makeImpatient } from '../../../src/limits/patience.ts'
import { makeManualClock } from '../../../src/time.ts'

/** Counters that answer, fail or hang as they are told, and how often they were asked. */
function aStore(clock = makeManualClock()) {
  const counters = makeOwnCounters(clock)
  const store = {
    mood: 'well' as 'well' | 'broken' | 'hanging',
    asked: 0,
    async add(name: string, window: number): Promise<Count> {
      store.asked += 1
      if (store.mood === 'hanging') await new Promise(() => {})
      if (store.mood === 'broken') throw new Error('ECONNREFUSED')
      return counters.add(name, window)
    }
  } satisfies Counters & { mood: string; asked: number }
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
  t.equal(store.asked, 3)
  for (let each = 4; each < 10; each++) t.equal((await one.count('a', limit)).number, each)
  t.equal(store.asked, 3, 'whoever is refused costs the store nothing')
  clock.advance(50)
  t.equal((await one.count('a', limit)).number, 1, 'until the window ends')
  t.equal(store.asked, 4)
})

t.test('an outage closes the limits that are to be closed; the others go on from what was heard last', async (t) => {
  const store = aStore()
  const limiter = makeLimiter(store, makeOwnCounters())
  const limit = { max: 3, window: 60, isClosed: false }
  await limiter.count('a', limit)
  store.mood = 'broken'
  await t.rejects(limiter.count('a', { ...limit, isClosed: true }), { code: 'STORE_DOWN', status: 503, retryAfter: 1 })
  t.equal((await limiter.count('a', limit)).number, 2)
  t.equal((await limiter.count('a', limit)).number, 3)
  t.ok(limiter.waitFor('a', limit))
  store.mood = 'well'
  t.equal((await limiter.count('a', limit)).number, 2, 'then all count together again')
})

t.test('a store that hangs is waited for once, and asked again by one request at a time', async (t) => {
  const store = aStore()
  let now = 0
  const told: unknown[] = []
  const tell = (error: unknown) => told.push((error as Error | undefined)?.message)
  const counters = makeImpatient(store, { patienceMs: 50, pauseMs: 1000, tell, now: () => now })
  const failure = () =>
    counters.add('a', 60).then(
      () => 'counted',
      (error: Error) => error.message
    )
  t.equal((await counters.add('a', 60)).number, 1)
  store.mood = 'hanging'
  t.same(await Promise.all([failure(), failure()]), Array(2).fill('no answer after 50 ms'))
  t.equal(store.asked, 3)
  t.equal(await failure(), 'the counters did not answer a moment ago')
  t.equal(store.asked, 3, 'nobody asks for a while')
  now += 1000
  t.same((await Promise.all([failure(), failure(), failure()])).toSorted(), [
    'no answer after 50 ms',
    'the counters did not answer a moment ago',
    'the counters did not answer a moment ago'
  ])
  t.equal(store.asked, 4, 'then one does')
  store.mood = 'well'
  now += 1000
  t.equal((await counters.add('a', 60)).number, 2)
  t.equal((await counters.add('a', 60)).number, 3)
  t.same(told, ['no answer after 50 ms', undefined], 'its beginning and its end are told once')
})

t.test('a failure is told as what it is', async (t) => {
  const store = aStore()
  store.mood = 'broken'
  await t.rejects(makeImpatient(store).add('a', 60), { message: 'ECONNREFUSED' })
})

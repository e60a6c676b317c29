import fc from 'fast-check'
import t from 'tap'
import { type Budget, decideTry, giveTryBack } from '../../../src/passwords/guessing.ts'

/** How many of so many tries a second pass, in so many seconds. */
function passed(budget: Budget, seconds: number, aSecond = 3): number {
  let [wholeAt, count] = [0, 0]
  for (let now = 1_700_000_000; now < 1_700_000_000 + seconds; now++) {
    for (let index = 0; index < aSecond; index++) {
      const decision = decideTry(wholeAt, now, budget)
      wholeAt = decision.wholeAt
      if (decision.wait === 0) count += 1
    }
  }
  return count
}

t.test('a burst, then a steady rate', async (t) => {
  t.equal(passed({ tries: 10, window: 600 }, 3600), 10 + 59)
  t.equal(passed({ tries: 100, window: 3600 }, 3600), 100 + 99)
  t.equal(passed({ tries: 600, window: 60 }, 60, 1000), 600 + 590, 'several a second')
  t.equal(passed({ tries: 1, window: 1 }, 10), 10)
})

t.test('a burst is as large as its budget, whatever the fractions', async (t) => {
  for (const window of [60, 600, 3600]) {
    for (let tries = 1; tries <= 1000; tries++) {
      const burst = passed({ tries, window }, 1, 2 * tries)
      if (burst !== tries) t.fail(`${burst} of ${tries} in ${window} s`)
    }
  }
  t.pass('of 3000 budgets')
})

t.test('whatever is tried when, a window never holds more than twice the tries', async (t) => {
  const budgets = fc.record({ tries: fc.integer({ min: 1, max: 50 }), window: fc.integer({ min: 1, max: 500 }) })
  fc.assert(
    fc.property(budgets, fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 200 }), (budget, pauses) => {
      let [wholeAt, now] = [0, 1_700_000_000]
      const times: number[] = []
      for (const pause of pauses) {
        now += pause
        const decision = decideTry(wholeAt, now, budget)
        if (decision.wait === 0) times.push(now)
        else {
          if (decideTry(wholeAt, now + decision.wait, budget).wait > 0) return false
          if (decideTry(wholeAt, now + decision.wait - 1, budget).wait === 0) return false
        }
        wholeAt = decision.wholeAt
      }
      return times.every(
        (from) => times.filter((at) => at >= from && at < from + budget.window).length <= 2 * budget.tries
      )
    })
  )
  t.pass('and the returned wait is the shortest possible')
})

t.test('a try given back leaves no trace', async (t) => {
  const budget = { tries: 10, window: 600 }
  const { wholeAt } = decideTry(1_700_000_500, 1_700_000_000, budget)
  t.equal(giveTryBack(wholeAt, budget), 1_700_000_500)
})

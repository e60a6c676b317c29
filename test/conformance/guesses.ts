import fc from 'fast-check'
import type { Test } from 'tap'
import { type Budget, decideTry, type GuessStore, giveTryBack } from '../../src/passwords/guessing.ts'
import { randomId } from '../../src/random.ts'

/** A store of guesses whose time is stepped by the suite. */
export interface OpenedGuesses {
  readonly store: GuessStore
  now(): number
  advance(seconds: number): Promise<void>
}

/** What every store of guesses must do, run over each of them. */
export async function guessStoreSuite(t: Test, open: () => Promise<OpenedGuesses>): Promise<void> {
  const { store, now, advance } = await open()
  const aCharge = (budget: Partial<Budget> = {}) => ({ key: randomId(), budget: { tries: 3, window: 30, ...budget } })

  await t.test('so many at once, then one after the other', async (t) => {
    const charge = aCharge()
    for (const wait of [0, 0, 0, 10, 10]) t.equal(await store.take([charge]), wait)
    await advance(9)
    t.equal(await store.take([charge]), 1)
    await advance(1)
    t.equal(await store.take([charge]), 0)
    t.equal(await store.take([charge]), 10, 'and what was refused has cost nothing')
    await advance(30)
    for (const wait of [0, 0, 0, 10]) t.equal(await store.take([charge]), wait, 'whole again, and no more than whole')
    t.equal(await store.take([aCharge()]), 0, 'others have their own')
  })

  await t.test('of a hundred at once no more pass than there are tries', async (t) => {
    const charge = aCharge({ tries: 7, window: 700 })
    const waits = await Promise.all(Array.from({ length: 100 }, () => store.take([charge])))
    t.equal(waits.filter((wait) => wait === 0).length, 7)
    t.same(new Set(waits), new Set([0, 100]))
  })

  await t.test('a clock that was set back locks no user out', async (t) => {
    const charge = aCharge()
    await advance(3600)
    for (const wait of [0, 0, 0, 10]) t.equal(await store.take([charge]), wait)
    await advance(-3600)
    for (const wait of [0, 0, 0, 10]) t.equal(await store.take([charge]), wait)
    await advance(3600)
    t.equal(await store.take([charge]), 0)
  })

  await t.test('what is given back can be taken again', async (t) => {
    const charge = aCharge()
    for (const wait of [0, 0, 0, 10]) t.equal(await store.take([charge]), wait)
    await store.giveBack([charge, aCharge()])
    for (const wait of [0, 10]) t.equal(await store.take([charge]), wait)
    await advance(1000)
    await store.giveBack([charge])
    for (const wait of [0, 0, 0, 10]) t.equal(await store.take([charge]), wait, 'but a whole one stays whole')
  })

  await t.test('several are taken together or not at all', async (t) => {
    const [large, small] = [aCharge({ tries: 5, window: 50 }), aCharge({ tries: 1, window: 60 })]
    t.equal(await store.take([large, small]), 0)
    for (let more = 0; more < 20; more++) t.equal(await store.take([large, small]), 60)
    for (const wait of [0, 0, 0, 0, 10]) t.equal(await store.take([large]), wait, 'only once from this one')
    t.equal(await store.take([large, small]), 60, 'the longest wait')
    t.equal(await store.take([]), 0)
  })

  await t.test('a source is known once it was remembered', async (t) => {
    const [one, other] = [randomId(), randomId()]
    t.equal(await store.isKnown(one), false)
    await store.remember(one)
    await store.remember(one)
    t.same([await store.isKnown(one), await store.isKnown(other)], [true, false])
  })

  await t.test('random histories come out as decideTry says', async (t) => {
    const budgets = fc.record({ tries: fc.integer({ min: 1, max: 700 }), window: fc.constantFrom(1, 60, 600, 3600) })
    const step = fc.record({ wait: fc.constantFrom(0, 0, 0, 1, 5, 61), gives: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(budgets, fc.array(step, { maxLength: 40 }), async (budget, steps) => {
        const charge = aCharge(budget)
        let wholeAt = 0
        for (const { wait, gives } of steps) {
          await advance(wait)
          const decision = decideTry(wholeAt, now(), budget)
          t.equal(await store.take([charge]), decision.wait)
          wholeAt = decision.wholeAt
          if (!gives || decision.wait > 0) continue
          await store.giveBack([charge])
          wholeAt = giveTryBack(Math.max(wholeAt, now()), budget)
        }
      }),
      { numRuns: 50 }
    )
  })
}

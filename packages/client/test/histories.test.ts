/* Random histories keep all promises, and each rule that is broken is noticed. `node dist/test/run-histories.js 10000` plays more. */
import t from 'tap'
import { playMany } from './histories.ts'
import { mutants, withMutant } from './mutants.ts'

t.test('random histories of three tabs keep every promise', async (t) => {
  const { violations, history, seed } = await playMany({ numRuns: 60 })
  t.equal(violations, undefined, JSON.stringify({ seed, history, violations }))
})

for (const mutant of mutants)
  t.test(`it is noticed when a rule is broken: ${mutant.title}`, async (t) => {
    const { violations = [] } = await withMutant(mutant, () =>
      playMany({ numRuns: 500, seed: 1, endOnFailure: true }, mutant)
    )
    t.match(violations.join(), /^R\d/)
  })

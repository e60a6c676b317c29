/* Random histories keep all promises, and each rule that is broken is noticed. `node dist/test/run-histories.js 10000` plays more. */
import t from 'tap'
import { type Command, play, playMany } from './histories.ts'
import { mutants, withMutant } from './mutants.ts'
import { storages } from './world.ts'

for (const kind of storages)
  t.test(`random histories of three tabs keep every promise, with a storage that is ${kind}`, async (t) => {
    const { violations, history, seed } = await playMany({ numRuns: 40 }, { kind })
    t.equal(violations, undefined, JSON.stringify({ seed, history, violations }))
  })

t.test(
  'a tab that wakes up with an old answer does not present a token that overtakes the retry of another tab',
  async (t) => {
    const history: readonly Command[] = [
      { do: 'jump', ms: -3_600_000 },
      { do: 'fetch', tab: 2 },
      { do: 'network', fates: [{ instead: { status: 503 } }, { there: 408, back: 1 }] },
      { do: 'freeze', tab: 2 },
      { do: 'pass', ms: 310_010 },
      { do: 'fetch', tab: 0 },
      { do: 'token', tab: 1 }
    ]
    t.same(await play(history), [])
  }
)

t.test('a Retry-After that a call receives just before it times out is respected by the next call', async (t) => {
  const unavailable = (headers = {}) => ({ instead: { status: 503, headers } })
  const history: readonly Command[] = [
    { do: 'pass', ms: 310_000 },
    { do: 'network', fates: [unavailable()] },
    { do: 'fetch', tab: 1 },
    { do: 'network', fates: [unavailable({ 'retry-after': '3' })] },
    { do: 'pass', ms: 30_000 },
    { do: 'fetch', tab: 1 },
    { do: 'pass', ms: 20 },
    { do: 'network', fates: [] }
  ]
  t.same(await play(history), [])
})

for (const mutant of mutants)
  t.test(`it is noticed when a rule is broken: ${mutant.title}`, async (t) => {
    const { violations = [] } = await withMutant(mutant, (broken) =>
      playMany({ numRuns: 500, seed: 1, endOnFailure: true }, broken)
    )
    t.match(violations.join(), /^R\d/)
  })

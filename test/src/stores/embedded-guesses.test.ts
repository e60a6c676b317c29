import t from 'tap'
import { trustedFor } from '../../../src/passwords/guessing.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { openEmbeddedGuesses } from '../../../src/stores/embedded/guesses.ts'
import { makeManualClock } from '../../../src/time.ts'
import { guessStoreSuite } from '../../conformance/guesses.ts'

const clock = makeManualClock()
const engine = openEmbedded(t.testdir())
t.teardown(() => engine.close())
const store = await openEmbeddedGuesses(engine, clock)

t.test('embedded guesses', async (t) => {
  await guessStoreSuite(t, async () => ({
    store,
    now: clock,
    advance: async (seconds) => clock.advance(seconds)
  }))
})

t.test('only guesses do not wait for the disk', async (t) => {
  const flushes = () => Object.values(engine.run('pragma synchronous')[0] ?? {})[0]
  t.equal(engine.lightTransaction(flushes), 1, 'NORMAL')
  t.throws(() =>
    engine.lightTransaction(() => {
      throw new Error('mine')
    })
  )
  t.equal(flushes(), 2, 'FULL again, for sessions and users')
})

t.test('what is over does not stay in the file', async (t) => {
  const count = (table: string) => engine.run<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)[0]?.n
  const budget = { tries: 1, window: 60 }
  for (let index = 0; index < 100; index++) {
    await store.take([{ key: `key ${index}`, budget }])
    await store.remember(`source ${index}`)
  }
  clock.advance(trustedFor - 1)
  t.equal(await store.isKnown('source 0'), true)
  clock.advance(1)
  t.equal(await store.isKnown('source 0'), false, 'after 30 days')
  for (let index = 0; index < 20; index++) {
    await store.take([{ key: 'one', budget }])
    await store.remember('one')
  }
  t.same([count('keyturn_guesses'), count('keyturn_known_sources')], [1, 1])
})

import t from 'tap'
import { needsRedis } from '../support/needs.ts'
import { makeMutants } from './mutants.ts'
import { chooseSeed, describeViolations, historyPolicy, playHistory } from './run.ts'

/*
 * A checker that finds nothing proves nothing until it is shown to find what is there: each fault planted here must be caught,
 * by the invariant that it breaks.
 */

const server = await needsRedis(t, { tcp: true, own: true })
if (!server.isPrivate) {
  t.plan(0, 'TEST_REDIS_URL names a server that others use: this needs one to disturb')
  process.exit()
}
const seed = chooseSeed()
t.comment(`KEYTURN_HISTORY_SEED=${seed}`)
const small = { clients: 50, operations: 1200, restarts: 0, hangs: 0 }
// They mostly wait for broken connections; each has keys of its own, and disturbs the others' connections at most.
t.jobs = 5
t.setTimeout(1_500_000) // milliseconds, for a machine that is busy

t.test('without a fault no invariant is broken', { buffered: true }, async (t) => {
  const result = await playHistory(server, { seed, ...small })
  t.equal(result.violations.length, 0, describeViolations(result, seed))
})

/** A fault that takes luck to show is given a few runs. */
const mostRounds = 5

for (const { name, breaks, hangs = 0, ...fault } of makeMutants(historyPolicy)) {
  const by = breaks === 'replay' ? 'the replay' : `invariant ${breaks}`
  t.test(`mutant ${name}: caught by ${by}`, { buffered: true }, async (t) => {
    for (let round = 1; round <= mostRounds; round++) {
      const result = await playHistory(server, { seed: `${seed}/${name}/${round}`, ...small, hangs, fault })
      const broken = [...new Set(result.violations.map(({ invariant }) => invariant))].sort()
      t.comment(`${result.violations.length} violations of ${broken.join(', ')} in ${result.seconds.toFixed(1)} s`)
      if (broken.includes(breaks)) return t.pass(`caught in round ${round}`)
    }
    t.fail(`not caught in ${mostRounds} rounds, KEYTURN_HISTORY_SEED=${seed}`)
  })
}

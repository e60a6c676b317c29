import t from 'tap'
import { needsRedis } from '../support/needs.ts'
import { chooseSeed, describeViolations, lastLook, playHistory } from './run.ts'

/* A short history; `npm run history` plays a long one. What it is and how it is checked: run.ts. */

const server = await needsRedis(t, { tcp: true, appendonly: true })
if (!server.isPrivate) {
  t.plan(0, 'TEST_REDIS_URL names a server that others use: this needs one to kill')
  process.exit()
}
const seed = chooseSeed()
t.comment(`KEYTURN_HISTORY_SEED=${seed}`)

t.test('sixty clients, lost answers and a Redis that is killed: no invariant is broken', async (t) => {
  const result = await playHistory(server, { seed, clients: 60, operations: 3000, restarts: 1, hangs: 1 })
  const { counts, seconds } = result
  t.comment(`${result.operations.length} operations in ${seconds.toFixed(1)} s`, counts)
  t.equal(result.violations.length, 0, describeViolations(result, seed))
  const mustHappen = [
    'logins',
    'rotated',
    'retried',
    'late',
    'reused',
    'unknown',
    'errors',
    'revoke answered',
    'Redis restarted'
  ]
  const unseen = result.operations.filter(({ client, outcome }) => client === lastLook && outcome.kind === 'failed')
  t.same([...new Set(unseen.map(({ outcome }) => outcome))], [], 'every session has been looked at once more')
  for (const what of mustHappen) t.ok((counts[what] ?? 0) > 0, `${counts[what]} ${what}`)
})

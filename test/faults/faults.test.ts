/*
 * The short form of the fault suite: a few faults, each for as long as it takes to show. KEYTURN_FAULTS=long plays all of them, and
 * npm run faults makes a table of it. They happen to servers of its own; TEST_REDIS_URL and TEST_DATABASE_URL are not used.
 */
import t from 'tap'
import { withoutPostgres, withoutRedis } from '../support/needs.ts'
import { atMost } from '../support/slack.ts'
import { type Outcome, suites } from './faults.ts'
import { rowOf } from './table.ts'

const form = process.env.KEYTURN_FAULTS === 'long' ? 'long' : 'short'
const areGiven = process.env.TEST_REDIS_URL !== undefined || process.env.TEST_DATABASE_URL !== undefined
const skip = areGiven ? 'it needs servers of its own' : withoutRedis() || withoutPostgres()

/** Failures that a client may see: a retry later, or a connection lost with its process. */
const stated = /^(503|ECONNRESET|EPIPE)$/

/** An access token from before or after a step of the clock may be too old or too young; an ended session is reported. */
const statedWith = (name: string): RegExp => (/clock|empty/.test(name) ? /^(503|401)$/ : stated)

for (const [name, play] of Object.entries(suites)) {
  t.test(name, { skip, timeout: 600_000 }, async (t) => {
    await play(form, (outcome) => check(outcome))

    function check(outcome: Outcome): void {
      const { name, wrong, failed, longest, recovery, unready, isUnready } = outcome
      t.comment(rowOf(outcome))
      t.same(wrong, [], `${name}: no answer was wrong`)
      const unstated = failed.filter(({ reason }) => !statedWith(name).test(reason))
      t.same(unstated, [], `${name}: what failed did so as stated`)
      if (isUnready) t.not(unready, 0, `${name}: readiness reported it`)
      t.ok(longest < atMost(6000), `${name}: no client waited for long`)
      t.ok(recovery < atMost(5000) / 1000, `${name}: all was well after ${recovery.toFixed(1)} s`)
    }
  })
}

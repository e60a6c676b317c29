/* The client in tabs of a real browser; `node dist/test/e2e/run-tabs.js` is the long form. */
import t from 'tap'
import { withoutBrowser } from '../support/needs.ts'
import { runTabs } from './tabs.ts'

for (const mode of ['token', 'cookie'] as const)
  t.test(
    `client: in ${mode} mode tabs of a browser stay logged in, whatever happens`,
    { skip: withoutBrowser() },
    async (t) => {
      // A busy machine may let more than 10 s pass between an answer that is lost and the retry.
      const outcome = await runTabs(t, {
        mode,
        tabs: 3,
        expiries: 24,
        faults: 0.3,
        outage: 3,
        grace: '60s',
        pause: 200
      })
      t.match(outcome, { loggedOut: 0, unsettled: 0 })
      t.ok(outcome.lost > 0 && outcome.late > 0 && outcome.expiries >= 24, JSON.stringify(outcome))
    }
  )

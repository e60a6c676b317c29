/* `node dist/test/e2e/run-tabs.js [cookie]`: 20 tabs and 1,000 expiries, with 30 % of the answers lost or late and an outage of a minute. */
import { type Plan, runTabs } from './tabs.ts'

const ends: (() => unknown)[] = []
const mode = process.argv[2] === 'cookie' ? 'cookie' : 'token'
const plan: Plan = { mode, tabs: 20, expiries: 1000, faults: 0.3, outage: 60, grace: '10s', pause: 500 }
const began = performance.now()
const outcome = await runTabs({ teardown: (end: () => unknown) => void ends.unshift(end) } as never, plan)
for (const end of ends) await end()
const perExpiry = (outcome.refreshes / outcome.expiries).toFixed(2)
console.log(JSON.stringify({ ...plan, ...outcome }))
console.log(`${perExpiry} refreshes for each expiry in a tab; ${((performance.now() - began) / 1000).toFixed(0)} s`)
process.exitCode = outcome.loggedOut === 0 && outcome.unsettled === 0 ? 0 : 1

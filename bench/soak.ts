/*
 * Mixed traffic for a while, and whether it leaves anything behind: `npm run soak`. MINUTES (5) says how long.
 *
 * The real server, two workers and a hasher on PostgreSQL and Redis, with passwords as cheap as in tests. Sessions log in, verify,
 * refresh, log out and try what has ended (test/faults/clients.ts); every answer is checked. Every 30 seconds a line tells how much
 * was served, what failed, what each process has in memory, and for how long the loop of a worker was busy with one thing. Exits
 * with 1 when anything failed, an answer was wrong, or a process grew by more than MOST_GROWTH (25) percent after the first quarter,
 * which it is given to warm up.
 */
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { login } from '../test/support/arbiter.ts'
import { startClients } from '../test/faults/clients.ts'
import { countKinds } from '../test/faults/table.ts'
import { openScope } from '../test/faults/worlds.ts'
import { type Footprint, footprints } from '../test/support/processes.ts'
import { openService } from './service.ts'

const minutes = Number(process.env.MINUTES ?? 5)
const mostGrowth = Number(process.env.MOST_GROWTH ?? 25)
const sessions = Number(process.env.SESSIONS ?? 6)

/** Between two lines, in milliseconds. */
const interval = Math.min(30_000, (minutes * 60_000) / 4)

/** Milliseconds that something had to wait for the loop, by prom-client: the p99 since the last scrape, of the worst worker. */
async function loopLag(url: string): Promise<string> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const values = [...text.matchAll(/^nodejs_eventloop_lag_p99_seconds(?:{[^}]*})? (\S+)/gm)].map(([, value]) =>
    Number(value)
  )
  return values.length === 0 ? 'unknown' : `${(Math.max(...values) * 1000).toFixed(1)} ms`
}

const describe = (all: readonly Footprint[]): string =>
  all.map(({ title, rss }) => `${title} ${rss.toFixed(0)}`).join(', ')

const scope = openScope()
try {
  const { url, pid } = await openService(scope, { ARGON2_MEMORY: '8192', ARGON2_TIME: '1' })
  const clients = startClients(url, { ...login, sessions }, () => false)
  scope.teardown(() => clients.stop())
  console.log(
    `Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}; ${minutes} minutes, ${sessions} sessions at once`
  )
  const began = performance.now()
  const warm = new Map<number, Footprint>()
  while (performance.now() - began < minutes * 60_000) {
    await delay(interval)
    const { answered, failed, wrong, ended, longest } = clients.report()
    const elapsed = performance.now() - began
    const now = footprints(pid)
    const lag = await loopLag(url)
    console.log(
      `${(elapsed / 1000).toFixed(0).padStart(5)} s  ${answered} served, ${ended} logouts, failed: ${countKinds(failed)};`,
      `longest ${longest.toFixed(0)} ms; MB ${describe(now)}; loop p99 ${lag}`
    )
    for (const message of wrong) console.error(`wrong: ${message}`)
    if (failed.length > 0 || wrong.length > 0) process.exitCode = 1
    if (elapsed < minutes * 15_000) continue
    for (const each of now) {
      const before = warm.get(each.pid)
      if (before === undefined) warm.set(each.pid, each)
      else if (each.rss > before.rss * (1 + mostGrowth / 100)) {
        console.error(`grown: ${each.title} from ${before.rss.toFixed(0)} to ${each.rss.toFixed(0)} MB`)
        process.exitCode = 1
      }
    }
  }
  console.log(process.exitCode === 1 ? 'not sound' : 'sound')
} finally {
  await scope.close()
}

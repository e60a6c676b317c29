/*
 * What the audit entry costs a login and a logout: `npm run build && node dist/bench/audit.js [rounds]`.
 *
 * Two services in this process share a PostgreSQL and a Redis. One answers after its entry is written, as in production; the other
 * omits its entries. Their rounds alternate, so that a busy machine slows both down. Passwords are cheap (8 MiB), since
 * the default hash takes several times as long. Figures are medians of the rounds, in milliseconds per act.
 */
import { pino } from 'pino'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config/load.ts'
import { openScope } from '../test/faults/worlds.ts'
import { login } from '../test/support/arbiter.ts'
import { figure } from './measure.ts'
import { openStores } from './service.ts'

const rounds = Number(process.argv[2] ?? 9)
const actsPerRound = 160

const scope = openScope()
const settings = await openStores(scope, {
  ARGON2_MEMORY: '8192',
  ARGON2_TIME: '1',
  LOGIN_BACKOFF: 'off',
  LOG_LEVEL: 'warn'
})

async function openSide(isAudited: boolean) {
  const app = await buildApp(loadConfig(settings), { log: pino({ level: 'silent' }) })
  scope.teardown(() => app.close())
  if (!isAudited) Object.assign(app.auditTrail, { record: async () => {} })
  const post = async (url: string, payload: object): Promise<{ refresh: string }> => {
    const answer = await app.inject({ method: 'POST', url, payload })
    if (answer.statusCode !== 200) throw new Error(`${url} answered ${answer.statusCode}: ${answer.body}`)
    return answer.json()
  }
  /** Milliseconds per login and per logout, with so many clients at the same time. */
  return async (clients: number) => {
    const tokens: string[] = []
    const time = async (act: () => Promise<unknown>): Promise<number> => {
      const began = performance.now()
      const one = async () => {
        for (let each = 0; each < actsPerRound / clients; each++) await act()
      }
      await Promise.all(Array.from({ length: clients }, one))
      return (performance.now() - began) / actsPerRound
    }
    const loginMs = await time(async () => tokens.push((await post('/api/token/', login)).refresh))
    const logout = await time(() => post('/api/token/blacklist/', { refresh: tokens.pop() }))
    return { login: loginMs, logout }
  }
}

const [withEntry, without] = [await openSide(true), await openSide(false)]
for (const clients of [1, 16]) {
  const samples: (readonly [Awaited<ReturnType<typeof without>>, Awaited<ReturnType<typeof without>>])[] = []
  await withEntry(clients)
  await without(clients)
  for (let round = 0; round < rounds; round++) samples.push([await withEntry(clients), await without(clients)])
  for (const act of ['login', 'logout'] as const) {
    const [ours, floor] = [figure(samples.map(([side]) => side[act])), figure(samples.map(([, side]) => side[act]))]
    const ratio = figure(samples.map(([a, b]) => a[act] / b[act]))
    console.log(
      `${act.padEnd(6)} ${String(clients).padStart(2)} clients: ${ours.median.toFixed(2)} ms with its entry, ` +
        `${floor.median.toFixed(2)} ms without; ratio ${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)} to ${ratio.most.toFixed(2)})`
    )
  }
}
await scope.close()

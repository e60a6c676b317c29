/*
 * How long after a logout each process of a Django service refuses the token: the service of packages/django/README.md under
 * Gunicorn with eight processes, and Keyturn with two workers on Redis. `node dist/bench/django.js`; LOGOUTS (100) is how many.
 *
 * From the moment at which the client has the 200 of the logout to the first refusal that a process decides. Every process is asked
 * about every 30 ms, so a figure is an upper bound. Exits with 1 when a process accepts the token after it has refused it.
 */
import { cpus } from 'node:os'
import { login } from '../test/support/arbiter.ts'
import { ask, startGunicorn } from '../test/support/gunicorn.ts'
import { post, runKeyturn } from '../test/support/keyturn.ts'
import { openScope } from '../test/faults/worlds.ts'
import { quantile } from './measure.ts'
import { openIssuer } from './service.ts'

const logouts = Number(process.env.LOGOUTS ?? 100)
const workers = 8

/** Milliseconds from `since` to the first refusal of each process. Throws when one accepts the token afterwards. */
async function untilAllRefuse(url: string, token: string, since: number): Promise<number[]> {
  const refusedAt = new Map<string, number>()
  while (refusedAt.size < workers) {
    const decisions = await Promise.all(Array.from({ length: workers }, () => ask(url, token)))
    for (const { worker, status, at } of decisions.toSorted((a, b) => a.at - b.at)) {
      if (status === 401 && !refusedAt.has(worker)) refusedAt.set(worker, Math.max(0, at - since))
      else if (status !== 401 && refusedAt.has(worker)) throw new Error(`${worker} answers ${status} after a 401`)
    }
  }
  return [...refusedAt.values()]
}

const scope = openScope()
try {
  const { url: issuer, settings } = await openIssuer(scope)
  const client = await runKeyturn(['clients', 'create', 'shop', '--scopes', 'keyturn.revocations'], settings)
  const service = await startGunicorn(scope, { issuer, secret: client.stdout.trim(), workers })
  const logIn = async () => (await post(`${issuer}/api/token/`, login)).body
  const first = await logIn()
  // The first requests may come before every worker of Keyturn knows the client.
  while ((await service.askAll(first.access ?? '')).some(({ status }) => status !== 200)) {}

  const delays: number[] = []
  for (let number = 0; number < logouts; number++) {
    const { access = '', refresh = '' } = await logIn()
    const before = await service.askAll(access)
    if (before.some(({ status }) => status !== 200)) throw new Error('a process refuses a valid token')
    const { status } = await post(`${issuer}/api/token/blacklist/`, { refresh })
    if (status !== 200) throw new Error(`the logout was answered ${status}`)
    delays.push(...(await untilAllRefuse(service.url, access, Date.now())))
  }
  const [p50, p99, most] = [0.5, 0.99, 1].map((part) => quantile(delays, part).toFixed(0))
  console.log(`Node ${process.version}, ${cpus().length} cores; Gunicorn with ${workers} processes, ${logouts} logouts`)
  console.log(`from a logout's 200 to the refusal in a process: p50 ${p50} ms, p99 ${p99} ms, max ${most} ms`)
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await scope.close()
}

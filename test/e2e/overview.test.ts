/* The overview of a service with several workers. */
import t from 'tap'
import { logIn, startArbiter, until } from '../support/arbiter.ts'
import { basic } from '../support/client.ts'
import { runKeyturn } from '../support/keyturn.ts'
import { startTraffic } from '../support/traffic.ts'

t.setTimeout(900_000)

interface Overview {
  readonly started_at: string
  readonly hash_queue: object
  readonly totals: { readonly verifications: Readonly<Record<string, number>> }
  readonly minutes: readonly { readonly verifications: Readonly<Record<string, number>> }[]
}

t.test('the overview covers all workers, and a reload keeps its history', async (t) => {
  const keyturn = await startArbiter(t)
  await logIn(keyturn)
  const created = await runKeyturn(
    ['clients', 'create', 'console', '--scopes', 'keyturn.admin', '--json'],
    keyturn.settings
  )
  const authorization = basic('console', JSON.parse(created.stdout).client_secret)
  const grant = async () => {
    const body = new URLSearchParams({ grant_type: 'client_credentials' })
    const answer = await fetch(`${keyturn.url}/oauth/token`, { method: 'POST', headers: { authorization }, body })
    return ((await answer.json()) as { access_token?: string }).access_token
  }
  // Workers learn of a new client within some seconds.
  await until(async () => (await grant()) !== undefined)
  const read = async (): Promise<Overview | undefined> => {
    const headers = { authorization: `Bearer ${await grant()}`, connection: 'close' }
    const answer = await fetch(`${keyturn.url}/api/admin/overview/`, { headers })
    return answer.status === 200 ? ((await answer.json()) as Overview) : undefined
  }
  const call = { method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 } as const
  const traffic = startTraffic(keyturn.url, [call], { kept: 2, fresh: 2 })
  await until(() => traffic.report().answered.fresh > 30)
  const startedAt = (await read())?.started_at
  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloaded', 0)
  await until(() => keyturn.lives('worker').filter(({ exitedAt }) => exitedAt !== undefined).length === 2)
  const { answered, failures } = await traffic.stop()
  t.strictSame(failures, [])
  const sent = answered.kept + answered.fresh
  await until(async () => (await read())?.totals.verifications.token_invalid === sent)
  const overview = await read()
  t.equal(overview?.totals.verifications.token_invalid, sent, 'requests to former workers count too')
  t.match(overview, { workers: 2, hashers: 1, started_at: startedAt, totals: { logins: { ok: 1 } }, sessions: 1 })
  t.same(overview?.hash_queue, { waiting: 0, capacity: 64 }, 'and nothing that only the metrics need')
  const inMinutes = overview?.minutes.map(({ verifications }) => verifications.token_invalid ?? 0) ?? []
  t.equal(
    inMinutes.reduce((sum, each) => sum + each, 0),
    sent
  )
  t.equal(await keyturn.stop(), 0)
})

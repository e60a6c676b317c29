/*
 * A reload (SIGHUP) replaces every process, and no client notices. The suite reloads every two seconds for 8 seconds;
 * KEYTURN_SECONDS=30 does it for 30.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { fewestReady, logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { type Call, startTraffic } from '../support/traffic.ts'

const seconds = Number(process.env.KEYTURN_SECONDS ?? 8)

/** GET and POST, with and without a store, and a login, which takes a hasher. */
async function someCalls(keyturn: RunningArbiter): Promise<Call[]> {
  const { access } = await logIn(keyturn)
  return [
    { method: 'POST', path: '/api/token/verify/', body: { token: access }, status: 200 },
    { method: 'GET', path: '/api/sessions/', headers: { authorization: `Bearer ${access}` }, status: 200 },
    { method: 'GET', path: '/.well-known/jwks.json', status: 200 },
    { method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 },
    { method: 'POST', path: '/api/token/', body: login, status: 200 }
  ]
}

t.test('SIGHUP every two seconds under load', { timeout: 300_000 }, async (t) => {
  const keyturn = await startArbiter(t)
  const traffic = startTraffic(keyturn.url, await someCalls(keyturn))
  const first = [...keyturn.ready('worker'), ...keyturn.ready('hasher')]
  const from = keyturn.lines().length
  const reloads = () => keyturn.lines().filter(({ msg }) => msg === 'Keyturn has reloaded').length
  const began = performance.now()
  for (let turn = 1; performance.now() - began < seconds * 1000; turn++) {
    keyturn.child.kill('SIGHUP')
    await delay(turn * 2000 - (performance.now() - began))
  }
  const asked = reloads()
  keyturn.child.kill('SIGHUP')
  await until(() => reloads() > asked, 20)
  const { answered, failures, longest } = await traffic.stop()

  t.comment(
    `${seconds} s, ${reloads()} reloads, 2 workers: ${answered.kept} answers on kept and ${answered.fresh} on fresh ` +
      `connections, ${failures.length} failures, the longest took ${Math.round(longest)} ms`
  )
  t.strictSame(failures.slice(0, 5), [], `${failures.length} failed`)
  t.ok(answered.kept > 100 && answered.fresh > 50, 'there was load')
  t.equal(fewestReady(keyturn.lines(), 'worker', from), 2, 'never fewer ready workers than wanted')
  t.equal(fewestReady(keyturn.lines(), 'hasher', from), 1, 'nor hashers')
  const last = [...keyturn.ready('worker'), ...keyturn.ready('hasher')]
  t.equal(last.length, 3)
  t.strictSame(
    last.filter((pid) => first.includes(pid)),
    [],
    'all processes are new'
  )
  t.ok(reloads() >= Math.min(3, seconds / 4))
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

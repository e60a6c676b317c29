/*
 * A reload (SIGHUP) replaces every process without a client noticing, or it replaces none. The suite reloads every two
 * seconds for 8 seconds; KEYTURN_SECONDS=30 does it for 30.
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { fewestReady, logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir } from '../support/keyturn.ts'
import { holdConnection, untilDraining } from '../support/readiness.ts'
import { type Call, startTraffic } from '../support/traffic.ts'

t.setTimeout(900_000)
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

t.test('reload: SIGHUP every two seconds under load loses no request', async (t) => {
  const keyturn = await startArbiter(t)
  const traffic = startTraffic(keyturn.url, await someCalls(keyturn))
  const first = [...keyturn.ready('worker'), ...keyturn.ready('hasher')]
  const from = keyturn.lines().length
  const reloads = () => keyturn.lines().filter(({ msg }) => msg === 'Keyturn reloaded').length
  const began = performance.now()
  // A busy machine may need longer for two.
  for (let turn = 1; performance.now() - began < seconds * 1000 || reloads() < 2; turn++) {
    keyturn.child.kill('SIGHUP')
    await delay(Math.max(100, turn * 2000 - (performance.now() - began)))
  }
  const asked = reloads()
  keyturn.child.kill('SIGHUP')
  await until(() => reloads() > asked)
  const { answered, failures, longest } = await traffic.stop()

  t.comment(
    `${seconds} s, ${reloads()} reloads, 2 workers: ${answered.kept} answers on kept and ${answered.fresh} on fresh ` +
      `connections, ${failures.length} failures, the longest took ${Math.round(longest)} ms`
  )
  t.strictSame(failures.slice(0, 5), [], `${failures.length} failed`)
  t.ok(answered.kept > 40 && answered.fresh > 20, 'there was load')
  t.equal(fewestReady(keyturn.lines(), 'worker', from), 2, 'never fewer ready workers than wanted')
  t.equal(fewestReady(keyturn.lines(), 'hasher', from), 1, 'nor hashers')
  const last = [...keyturn.ready('worker'), ...keyturn.ready('hasher')]
  t.equal(last.length, 3)
  t.strictSame(
    last.filter((pid) => first.includes(pid)),
    [],
    'all processes are new'
  )
  t.ok(reloads() >= 2, 'more than one')
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

/** A folder with an ENV_FILE and a CLAIMS_MODULE that it may name. */
function aConfiguration(t: Test) {
  const folder = aDataDir(t)
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  return {
    write: (lines: readonly string[]) => write('env', `${lines.join('\n')}\n`),
    /** A module that fails a second after it is loaded. */
    broken: write('claims.mjs', 'await new Promise((end) => setTimeout(end, 1000))\nthrow new Error("no claims today")')
  }
}

const everyone = (keyturn: RunningArbiter) => [...keyturn.ready('worker'), ...keyturn.ready('hasher')]

t.test('reload: an invalid configuration or a failed boot keeps the old processes, and loses no request', async (t) => {
  const { write, broken } = aConfiguration(t)
  const keyturn = await startArbiter(t, { ENV_FILE: write(['WEB_CONCURRENCY=2']) })
  const traffic = startTraffic(keyturn.url, await someCalls(keyturn), { kept: 2, fresh: 1 })
  const first = everyone(keyturn)
  const from = keyturn.lines().length

  write(['WEB_CONCURRENCY=two', 'LEEWAY=1y'])
  keyturn.child.kill('SIGHUP')
  t.match(await keyturn.next('reload aborted: invalid configuration', from), {
    level: 'error',
    reason: /^WEB_CONCURRENCY: got "two".*\nLEEWAY: got "1y"/
  })
  t.equal(keyturn.lives('worker').length, 2, 'no process was started')

  write(['WEB_CONCURRENCY=3', `CLAIMS_MODULE=${broken}`])
  keyturn.child.kill('SIGHUP')
  t.match(await keyturn.next('reload aborted: a new process failed to boot', from), {
    level: 'error',
    reason: /^CLAIMS_MODULE: .*no claims today\.$/
  })
  await until(() => keyturn.lives('worker').filter(({ exitedAt, drainedAt }) => drainedAt && !exitedAt).length === 0)
  const tried = keyturn.lives('worker').length
  await delay(1500)
  t.strictSame(everyone(keyturn), first, 'the old ones keep serving')
  t.equal(keyturn.lives('worker').length, tried, 'no others are started')

  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloading')
  write(['WEB_CONCURRENCY=3'])
  keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloaded')
  t.equal(keyturn.ready('worker').length, 3, 'corrected while the faulty one was still booting')
  t.strictSame(
    everyone(keyturn).filter((pid) => first.includes(pid)),
    []
  )

  t.strictSame((await traffic.stop()).failures, [])
  t.equal(fewestReady(keyturn.lines(), 'worker', from), 2)
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

t.test('reload: old processes stay until all new ones are ready, hashers too', async (t) => {
  const keyturn = await startArbiter(t)
  const first = everyone(keyturn)
  const from = keyturn.lines().length
  keyturn.child.kill('SIGHUP')
  await until(() => keyturn.lives('hasher').length === 2)
  const hasher = Number(keyturn.lives('hasher').at(-1)?.pid)
  process.kill(hasher, 'SIGSTOP')
  await until(() => keyturn.ready('worker').length === 4)
  process.kill(hasher, 'SIGKILL')
  t.match(await keyturn.next('reload aborted: a new process failed to boot', from), {
    reason: 'A hasher failed to boot: it exited with SIGKILL.'
  })
  await until(() => keyturn.lives('worker').filter(({ exitedAt }) => exitedAt !== undefined).length === 2)
  t.strictSame(everyone(keyturn), first)
  t.equal(fewestReady(keyturn.lines(), 'worker', from), 2)
  t.equal(fewestReady(keyturn.lines(), 'hasher', from), 1)
  t.equal(await keyturn.stop(), 0)
})

t.test('reload: requests during a reload are merged into one more reload', async (t) => {
  const keyturn = await startArbiter(t)
  for (let n = 0; n < 10; n++) keyturn.child.kill('SIGHUP')
  const from = keyturn.lines().length
  await keyturn.next('Keyturn reloaded', from)
  const second = keyturn.lines().length
  for (let n = 0; n < 10; n++) keyturn.child.kill('SIGHUP')
  await keyturn.next('Keyturn reloading', second)
  const count = (message: string) => keyturn.lines().filter(({ msg }) => msg === message).length
  await until(() => count('Keyturn reloaded') >= 2 && count('Keyturn reloaded') === count('Keyturn reloading'))
  t.equal(await keyturn.stop(), 0)
  const reloads = count('Keyturn reloading')
  t.ok(reloads >= 2 && reloads <= 4, `${reloads} reloads`)
})

t.test('reload: a worker that is replaced is as ready as the service; only a stop makes it unready', async (t) => {
  const replaced = { status: 200, serving: 'up', closes: true }
  const ways: readonly (readonly [what: string, replace: (keyturn: RunningArbiter) => Promise<void> | void])[] = [
    ['SIGHUP', ({ child }) => void child.kill('SIGHUP')],
    [
      'SIGTTOU',
      async ({ child, ready }) => {
        child.kill('SIGTTIN')
        await until(() => ready('worker').length === 2)
        child.kill('SIGTTOU')
      }
    ],
    [
      'MAX_REQUESTS',
      async ({ url }) => {
        for (let n = 0; n < 10; n++) await fetch(`${url}/health/live`)
      }
    ],
    ['SIGTERM to the worker', (keyturn) => void keyturn.kill('worker', 'SIGTERM')]
  ]
  for (const [what, replace] of ways) {
    const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1', MAX_REQUESTS: what === 'MAX_REQUESTS' ? '10' : '0' })
    const [watch, held] = [await holdConnection(t, keyturn), await holdConnection(t, keyturn)]
    await replace(keyturn)
    t.same(await untilDraining(watch), replaced, what)
    t.same(await held.probe(), replaced, `${what}, on another connection`)
    t.equal(await keyturn.stop(), 0)
  }
})

t.test('reload: a worker that is being replaced when the service stops becomes unready too', async (t) => {
  const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' })
  const watch = await holdConnection(t, keyturn)
  const held = await Promise.all(Array.from({ length: 50 }, () => holdConnection(t, keyturn)))
  keyturn.child.kill('SIGHUP')
  t.match(await untilDraining(watch), { status: 200 })
  const closed = once(keyturn.child, 'close')
  keyturn.child.kill('SIGTERM')
  await keyturn.next('Keyturn stopping', 0)
  // The order to stop is on its way to the worker: a probe may overtake it.
  await until(async () => (await held.pop()?.probe())?.status === 503, 'the worker hears of the stop')
  for (const each of held) each.close()
  t.equal((await closed)[0], 0)
})

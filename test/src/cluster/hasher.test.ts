/* A hasher as a process, with the test as its arbiter. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { getPriority } from 'node:os'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Order, Report } from '../../../src/cluster/messages.ts'
import { testSettings } from '../../support/keyturn.ts'

const file = fileURLToPath(new URL('../../../src/cluster/hasher.js', import.meta.url))

/** A hasher that is ready; ended with `t`. */
async function startHasher(t: Test) {
  // Without the loader that tap has given this process, and with one thread, as the arbiter has it.
  const env = testSettings({ UV_THREADPOOL_SIZE: '1' })
  const child = fork(file, [], { execArgv: [], env, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
  t.teardown(() => child.kill('SIGKILL'))
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const closed = Promise.all([once(child, 'exit'), once(child.stderr as Readable, 'close')]).then(([exit]) => exit)
  const reports: Report[] = []
  child.on('message', (report: Report) => reports.push(report))
  const next = async (type: Report['type']): Promise<Report> => {
    while (!reports.some((report) => report.type === type)) await once(child, 'message')
    return reports.splice(0).find((report) => report.type === type) as Report
  }
  await next('ready')
  return { child, closed, next, reports, send: (order: Order) => send(child, order), stderr: () => stderr }
}

const send = (child: ChildProcess, order: Order): void => void child.send(order)
const drain: Order = { type: 'drain', delay: 0, grace: 1000, isStop: false }

t.test('hasher: hashes and verifies passwords, at a lower priority', async (t) => {
  const { child, closed, send, next, stderr } = await startHasher(t)
  send({ type: 'hash', id: 7, job: { kind: 'hash', password: 'secret' } })
  const hashed = await next('hashed')
  t.match(hashed, { id: 7, result: { value: /^\$argon2id\$/ } })
  const digest = 'result' in hashed && 'value' in hashed.result ? String(hashed.result.value) : ''
  for (const [password, value] of [
    ['secret', true],
    ['other', false]
  ] as const) {
    send({ type: 'hash', id: 8, job: { kind: 'verify', password, digest } })
    t.match(await next('hashed'), { id: 8, result: { value } })
  }
  t.ok(getPriority(child.pid ?? 0) > getPriority())
  send(drain)
  t.strictSame(await closed, [0, null])
  t.equal(stderr(), '')
})

t.test('hasher: drains its jobs in order, then exits', async (t) => {
  const { closed, send, reports } = await startHasher(t)
  for (const id of [1, 2]) send({ type: 'hash', id, job: { kind: 'hash', password: 'secret' } })
  send(drain)
  t.strictSame(await closed, [0, null])
  t.match(reports, [
    { type: 'hashed', id: 1 },
    { type: 'hashed', id: 2 }
  ])
})

t.test('hasher: repeated drain orders exit once', async (t) => {
  const { closed, send, stderr } = await startHasher(t)
  for (let n = 0; n < 20; n++) send(drain)
  t.strictSame(await closed, [0, null])
  t.equal(stderr(), '')
})

t.test('hasher: ignores signals that reach every process, and exits with its arbiter', async (t) => {
  const { child, closed, send, next, stderr } = await startHasher(t)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) child.kill(signal)
  send({ type: 'hash', id: 1, job: { kind: 'hash', password: 'secret' } })
  t.match(await next('hashed'), { id: 1 })
  child.disconnect()
  t.strictSame(await closed, [1, null])
  t.equal(stderr(), '')
})

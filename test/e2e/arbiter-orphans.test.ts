/* The arbiter is killed or stopped: whom it has started does not stay behind, and does not need it to serve. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { isAlive, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { aDataDir, serveCommand } from '../support/keyturn.ts'
import { type Call, startTraffic } from '../support/traffic.ts'

t.setTimeout(300_000)
const calls: readonly Call[] = [{ method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 }]

t.test('an arbiter that was stopped itself takes nobody for silent', async (t) => {
  const keyturn = await startArbiter(t, { TIMEOUT: '4' })
  const [first] = [keyturn.ready('worker')]
  keyturn.child.kill('SIGSTOP')
  await delay(6000)
  t.equal((await fetch(`${keyturn.url}/health/ready`)).status, 200, 'the workers need no arbiter to serve')
  keyturn.child.kill('SIGCONT')
  await delay(1500)
  t.strictSame(keyturn.ready('worker'), first)
  t.equal(await keyturn.stop(), 0)
})

/** The arbiter is killed: nothing is left, and the port is free. */
async function diesAlone(t: Test, keyturn: RunningArbiter, what: string): Promise<void> {
  // All have its standard output: it is closed when the last one ends, also one that was born after this line.
  const closed = once(keyturn.child, 'close')
  keyturn.child.kill('SIGKILL')
  const began = performance.now()
  await Promise.race([closed, delay(15_000, undefined, { ref: false })])
  const seconds = (performance.now() - began) / 1000
  const all = [...keyturn.lives('worker'), ...keyturn.lives('hasher')].map(({ pid }) => pid)
  t.comment(`${what}: ${all.length} processes are gone ${seconds.toFixed(2)} s after the arbiter`)
  // The promise is 6 s; a machine that runs other suites beside may be late by as much again.
  t.ok(seconds < 12, `${seconds} s`)
  t.strictSame(all.filter(isAlive), [])
  // A socket that was on its way to a worker is closed by the kernel a moment later.
  await until(async () => !(await isTaken(keyturn.url)), 2, 'the port is free')
}

async function isTaken(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const server = createServer().listen(Number(port), hostname)
  try {
    await once(server, 'listening')
  } catch {
    return true
  }
  server.close()
  await once(server, 'close')
  return false
}

t.test('kill -9 of the arbiter', async (t) => {
  await diesAlone(t, await startArbiter(t), 'idle')

  const busy = await startArbiter(t)
  const traffic = startTraffic(busy.url, calls, { pause: 1 })
  await until(() => traffic.report().answered.kept > 40, 20)
  await diesAlone(t, busy, 'busy')
  await traffic.stop()

  const slow = await startArbiter(t)
  const { hostname, port } = new URL(slow.url)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  socket.write(
    'POST /api/token/verify/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{'
  )
  const answer = once(socket, 'data')
  await delay(100)
  const gone = diesAlone(t, slow, 'in the middle of a request')
  await delay(700)
  socket.write('"a":"b"}')
  t.match(String((await answer)[0]), /^HTTP\/1\.1 400 /, 'what was begun is answered all the same')
  await gone
})

t.test('kill -9 of the arbiter while its workers boot', async (t) => {
  for (const first of ['hasher starting', 'hasher ready', 'worker ready']) {
    const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' })
    keyturn.child.kill('SIGHUP')
    await keyturn.next(first)
    await diesAlone(t, keyturn, `in a reload, as the first ${first}`)
  }
})

t.test('a defect of the arbiter ends all at once', async (t) => {
  const folder = aDataDir(t)
  const marker = join(folder, 'now')
  const module = join(folder, 'defect.mjs')
  writeFileSync(
    module,
    `import { existsSync } from 'node:fs'
const look = () => {
  if (process.title === 'keyturn: arbiter' && existsSync(${JSON.stringify(marker)})) throw new Error('a fault')
}
setInterval(look, 20).unref()
`
  )
  const [node, ...args] = serveCommand
  const keyturn = await startArbiter(t, {}, { command: [node, '--import', pathToFileURL(module).href, ...args] })
  const closed = once(keyturn.child, 'close')
  writeFileSync(marker, '')
  t.equal((await closed)[0], 1)
  t.match(keyturn.lines().at(-1), {
    level: 'fatal',
    msg: 'uncaught exception; stopping all processes',
    err: { message: 'a fault' }
  })
  t.equal(keyturn.output().stderr, '')
})

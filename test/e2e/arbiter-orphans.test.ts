/* The arbiter is killed or stopped: its processes do not stay behind, and do not need it to serve. */
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

t.setTimeout(900_000)
const calls: readonly Call[] = [{ method: 'POST', path: '/api/token/verify/', body: { token: 'none' }, status: 401 }]

t.test('arbiter: after it was stopped itself, it takes no process for silent', async (t) => {
  const keyturn = await startArbiter(t, { TIMEOUT: '8' })
  const first = keyturn.ready('worker')
  keyturn.child.kill('SIGSTOP')
  await delay(10_000)
  t.equal((await fetch(`${keyturn.url}/health/ready`)).status, 200, 'the workers need no arbiter to serve')
  keyturn.child.kill('SIGCONT')
  // It has looked at its processes many times before one that it starts now is ready.
  keyturn.child.kill('SIGTTIN')
  await until(() => keyturn.ready('worker').length === 3)
  t.strictSame(keyturn.ready('worker').slice(0, 2), first)
  t.equal(await keyturn.stop(), 0)
})

/** Kills the arbiter, and checks that no process is left and the port is free. */
async function diesAlone(t: Test, keyturn: RunningArbiter, what: string): Promise<void> {
  // All processes inherit its standard output, which is closed when the last one exits, also one that starts after this line.
  const closed = once(keyturn.child, 'close')
  keyturn.child.kill('SIGKILL')
  const began = performance.now()
  await closed
  const seconds = (performance.now() - began) / 1000
  const all = [...keyturn.lives('worker'), ...keyturn.lives('hasher')].map(({ pid }) => pid)
  t.comment(`${what}: ${all.length} processes have exited ${seconds.toFixed(2)} s after the arbiter`)
  // The promise is 6 s; a busy machine may take ten times as long.
  t.ok(seconds < 60, `${seconds} s`)
  t.strictSame(all.filter(isAlive), [])
  // The kernel closes a socket that was being passed to a worker a moment later.
  await until(async () => !(await isTaken(keyturn.url)), 'the port is free')
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

t.test('arbiter: when it is killed, its processes exit and the port is free', async (t) => {
  await diesAlone(t, await startArbiter(t), 'idle')

  const busy = await startArbiter(t)
  const traffic = startTraffic(busy.url, calls, { pause: 1 })
  await until(() => traffic.report().answered.kept > 40)
  await diesAlone(t, busy, 'busy')
  await traffic.stop()

  const slow = await startArbiter(t)
  const { hostname, port } = new URL(slow.url)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  const head = ['POST /api/token/verify/ HTTP/1.1', 'Host: x', 'Content-Type: application/json', 'Content-Length: 9']
  socket.write(`${[...head, 'Expect: 100-continue'].join('\r\n')}\r\n\r\n`)
  t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 100 /, 'the worker has read the head')
  const answer = once(socket, 'data')
  const gone = diesAlone(t, slow, 'in the middle of a request')
  socket.write('{"a":"b"}')
  t.match(String((await answer)[0]), /^HTTP\/1\.1 400 /, 'a request that had begun is answered')
  await gone
})

t.test('arbiter: when it is killed in a reload, its booting processes exit too', async (t) => {
  for (const first of ['hasher starting', 'hasher ready', 'worker ready']) {
    const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' })
    keyturn.child.kill('SIGHUP')
    await keyturn.next(first)
    await diesAlone(t, keyturn, `in a reload, as the first ${first}`)
  }
})

t.test('arbiter: an uncaught exception in it ends all processes at once', async (t) => {
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

/* The service with a standard output that does not accept its log. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../support/arbiter.ts'
import { freePort } from '../support/engines.ts'
import { aDataDir, serveCommand, testSettings } from '../support/keyturn.ts'

const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants

/** A pipe with a name: a reader that does not wait, and a writer. */
function aPipe(t: Test): { readonly reader: number; readonly writer: number } {
  const path = join(aDataDir(t), 'pipe')
  execFileSync('mkfifo', [path])
  return { reader: openSync(path, O_RDONLY | O_NONBLOCK), writer: openSync(path, O_WRONLY) }
}

/** `keyturn serve` that logs to `output`, once it is ready; its standard error is `errors`. */
async function serveTo(t: Test, output: number, errors: number | 'inherit' = 'inherit') {
  const port = await freePort()
  const [file, ...args] = serveCommand
  const env = testSettings({ PORT: String(port), DATA_DIR: aDataDir(t), HASHERS: '1', LOG_FORMAT: 'json' })
  const child = spawn(file, args, { env, stdio: ['ignore', output, errors] })
  const exited = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  const get = async (path: string): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`)
    return answer.ok ? await answer.text() : ''
  }
  const isReady = async () => (await get('/health/ready').catch(() => '')) !== ''
  await until(isReady, 'the service is ready')
  const children = (): number[] =>
    readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number)
  /** Kills the worker and the hasher, and waits until others serve. */
  const replaceAll = async (): Promise<void> => {
    const killed = children()
    for (const pid of killed) process.kill(pid, 'SIGKILL')
    const areReplaced = () => children().length >= killed.length && !children().some((pid) => killed.includes(pid))
    await until(areReplaced, 'the killed processes are replaced')
    await until(isReady, 'the service is ready again')
  }
  /** Forty requests, each of which logs half a kilobyte. */
  const send = () =>
    Promise.all(
      Array.from({ length: 40 }, () =>
        fetch(`http://127.0.0.1:${port}/api/token/verify/`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-request-id': 'a'.repeat(200) },
          body: '{"token":"none"}'
        }).then((answer) => answer.arrayBuffer())
      )
    )
  const dropped = async (): Promise<number> =>
    Number(/^keyturn_log_lines_dropped_total (\d+)$/m.exec(await get('/metrics'))?.[1])
  /** Sends requests until lines are dropped, or more than before. */
  const flood = async (): Promise<void> => {
    const before = await dropped()
    await until(async () => {
      for (let each = 0; each < 10; each++) await send()
      return (await dropped()) > before
    }, 'lines are dropped')
  }
  /** Replaces all processes, and waits until others serve. */
  const reload = async (): Promise<void> => {
    const replaced = children()
    child.kill('SIGHUP')
    await until(() => !children().some((pid) => replaced.includes(pid)), 'the processes are replaced')
  }
  const stop = async (): Promise<unknown> => {
    child.kill('SIGTERM')
    return (await exited)[0]
  }
  return { send, flood, dropped, reload, replaceAll, stop }
}

t.test(
  'a pipe that is not read: the service answers, drops lines, reports how many once it is read, and stops',
  async (t) => {
    const { reader, writer } = aPipe(t)
    const service = await serveTo(t, writer)
    closeSync(writer)
    await service.flood()
    await service.replaceAll()
    await service.flood()
    let text = ''
    const bytes = Buffer.alloc(65_536)
    await until(() => {
      try {
        text += bytes.toString('utf8', 0, readSync(reader, bytes))
      } catch {
        // The pipe is empty for now.
      }
      return /"lines":\d+,"msg":"log lines were dropped"/.test(text)
    }, 'the number of dropped lines is logged')
    for (let each = 0; each < 5; each++) await service.send()
    t.equal(await service.stop(), 0, 'while the pipe is full again')
    closeSync(reader)
  }
)

t.test('a full disk: the service answers, drops lines and stops', async (t) => {
  const full = openSync('/dev/full', O_WRONLY)
  const service = await serveTo(t, full)
  for (let each = 0; each < 5; each++) await service.send()
  t.equal(await service.dropped(), 0, 'the lines are kept')
  await service.reload()
  t.ok((await service.dropped()) >= 200, 'until their process exits')
  await service.flood()
  await service.replaceAll()
  t.equal(await service.stop(), 0)
  closeSync(full)
})

t.test('a pipe whose reader has closed it: the service answers, drops lines and stops', async (t) => {
  const { reader, writer } = aPipe(t)
  const service = await serveTo(t, writer)
  closeSync(writer)
  closeSync(reader)
  await service.flood()
  t.equal(await service.stop(), 0)
})

t.test('a socket that is not read, as of journald: the service answers, drops lines and stops', async (t) => {
  const path = join(aDataDir(t), 'socket')
  const server = createServer({ pauseOnConnect: true }).listen(path)
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect(path)
  const [reader] = await accepted
  t.teardown(() => {
    reader.destroy()
    client.destroy()
    server.close()
  })
  const { fd } = (client as unknown as { readonly _handle: { readonly fd: number } })._handle
  const service = await serveTo(t, fd, fd)
  await service.flood()
  await service.replaceAll()
  await service.flood()
  t.equal(await service.stop(), 0)
})

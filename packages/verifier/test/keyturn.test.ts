/** The verifier with Keyturn itself. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createVerifier } from '../src/index.ts'
import { accepted, blacklisted, cannotKnow, freePort, invalidToken, until, verdictOf } from './support.ts'

const main = fileURLToPath(new URL('../../../../dist/src/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'keyturn-verifier-'))
const port = await freePort()
const issuer = `http://127.0.0.1:${port}`
const env = {
  PATH: process.env.PATH,
  DATA_DIR: folder,
  PORT: `${port}`,
  ISSUER: issuer,
  WEB_CONCURRENCY: '2',
  ARGON2_MEMORY: '8192',
  ARGON2_TIME: '1',
  TIMEOUT: '180',
  RATE_LIMIT_OBTAIN: 'off',
  RATE_LIMIT_REFRESH: 'off'
}

/** Runs a command of Keyturn to its end: what it printed. */
async function keyturn(args: readonly string[], input = ''): Promise<string> {
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.on('error', () => {}).end(input)
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`keyturn ${args.join(' ')} exited with ${code}`)
  return output
}

async function post(path: string, body: object): Promise<Record<string, string>> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(issuer + path, { method: 'POST', headers, body: JSON.stringify(body) })
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`)
  return (await answer.json()) as Record<string, string>
}

const logIn = () =>
  post('/api/token/', { username: 'vitor', password: 'correct horse' }) as Promise<{ access: string; refresh: string }>
const logOut = ({ refresh }: { refresh: string }) => post('/api/token/blacklist/', { refresh })

async function makeClient(name: string, ...options: string[]): Promise<{ id: string; secret: string }> {
  const made = JSON.parse(await keyturn(['clients', 'create', name, '--json', ...options]))
  return { id: name, secret: made.client_secret ?? made.secret }
}

let server: ReturnType<typeof spawn> | undefined
async function start(): Promise<void> {
  server = spawn(process.execPath, [main, 'serve'], { env, stdio: 'ignore' })
  await until(async () => (await fetch(`${issuer}/health/ready`).catch(() => undefined))?.status === 200)
  server.unref() // tap runs teardowns when nothing else is left to do
}
async function stop(signal: NodeJS.Signals): Promise<void> {
  server?.ref()
  server?.kill(signal)
  await once(server as NonNullable<typeof server>, 'close')
}

let client: { id: string; secret: string }
t.before(async () => {
  await keyturn(['users', 'create', 'vitor'], 'correct horse')
  client = await makeClient('orders', '--scopes', 'keyturn.revocations')
  await start()
})
t.teardown(async () => {
  await stop('SIGQUIT')
  rmSync(folder, { recursive: true, force: true })
})

t.test('keyturn: a token is accepted until its logout, which takes effect at once', async (t) => {
  const before = await logIn()
  await logOut(before)
  const verifier = createVerifier({ issuer, client })
  t.teardown(() => verifier.close())
  await verifier.ready()
  t.equal(await verdictOf(verifier, before.access), blacklisted, 'a logout from before the verifier started')
  const login = await logIn()
  t.match(await verifier.verify(login.access), { userId: /./, sessionId: /^[0-9a-f]{32}$/, scopes: [] })
  t.equal(await verdictOf(verifier, login.refresh), invalidToken)
  const heard = once(verifier, 'revoked')
  await logOut(login)
  await heard
  t.equal(await verdictOf(verifier, login.access), blacklisted)
})

t.test('keyturn: a client without the scope reads nothing', async (t) => {
  const other = await makeClient('billing')
  const verifier = createVerifier({ issuer, client: other })
  t.teardown(() => verifier.close())
  const [error] = (await once(verifier, 'disconnected')) as [Error]
  t.match(error.message, /got 40[13]/) // 401 until its worker knows the client
  t.equal(await verdictOf(verifier, (await logIn()).access), cannotKnow)
})

t.test('keyturn: a reload refuses no valid token and misses no logout', async (t) => {
  const verifier = createVerifier({ issuer, client })
  t.teardown(() => verifier.close())
  await verifier.ready()
  const [kept, ended] = [await logIn(), await logIn()]
  t.equal(await verdictOf(verifier, ended.access), accepted)
  const disconnected = once(verifier, 'disconnected')
  server?.kill('SIGHUP')
  const verdicts = new Set<string>()
  let isReloaded = false
  const polling = (async () => {
    while (!isReloaded) {
      verdicts.add(await verdictOf(verifier, kept.access))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })()
  const [error] = await disconnected
  t.equal(error, undefined, 'the worker ends the stream')
  await logOut(ended)
  await until(async () => (await verdictOf(verifier, ended.access)) === blacklisted)
  isReloaded = true
  await polling
  t.same([...verdicts], [accepted])
})

t.test('keyturn: a logout behind a partition is known once the partition is over', async (t) => {
  const sockets = new Set<Socket>()
  let isCut = false
  const proxy = createServer((socket) => {
    if (isCut) return void socket.destroy()
    const upstream = connect(port, '127.0.0.1')
    for (const each of [socket, upstream]) sockets.add(each.on('error', () => {}))
    socket.pipe(upstream).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  const address = `http://127.0.0.1:${(proxy.address() as { port: number }).port}`
  const verifier = createVerifier({
    issuer,
    client,
    staleness: 5,
    fetch: (url, init) => fetch(url.replace(issuer, address), init)
  })
  t.teardown(() => verifier.close())
  await verifier.ready()
  const [kept, ended] = [await logIn(), await logIn()]
  for (const { access } of [kept, ended]) t.equal(await verdictOf(verifier, access), accepted)
  isCut = true
  for (const socket of sockets) socket.destroy()
  await logOut(ended)
  const verdicts = new Set<string>()
  await until(async () => {
    const verdict = await verdictOf(verifier, kept.access)
    verdicts.add(verdict)
    return verdict === cannotKnow
  })
  isCut = false
  await verifier.ready()
  t.equal(await verdictOf(verifier, ended.access), blacklisted)
  t.equal(await verdictOf(verifier, kept.access), accepted)
  t.same([...verdicts], [accepted, cannotKnow])
})

t.test('keyturn: a restart of the whole service costs a reconnect', async (t) => {
  const verifier = createVerifier({ issuer, client, staleness: 300 })
  t.teardown(() => verifier.close())
  await verifier.ready()
  const [kept, ended] = [await logIn(), await logIn()]
  await logOut(ended)
  await stop('SIGTERM')
  t.equal(await verdictOf(verifier, kept.access), accepted)
  const connected = once(verifier, 'connected')
  await start()
  await connected
  t.equal(await verdictOf(verifier, ended.access), blacklisted)
  t.equal(await verdictOf(verifier, kept.access), accepted)
})

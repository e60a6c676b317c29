/* How the arbiter starts: its address, its pidfile, what starts it, and what prevents a start. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { isAlive, livesOf, startArbiter, until, untilGone } from '../support/arbiter.ts'
import { freePort } from '../support/engines.ts'
import {
  aDataDir,
  type RunningKeyturn,
  runKeyturn,
  serveCommand,
  startKeyturn,
  testSettings
} from '../support/keyturn.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'

t.setTimeout(900_000)
const root = fileURLToPath(new URL('../../../', import.meta.url))
const isUp = async ({ url }: RunningKeyturn): Promise<boolean> => (await fetch(`${url}/health/ready`)).status === 200

/** Another program's server, and its port; closed with `t`. */
async function aListener(t: Test): Promise<Server & { readonly port: number }> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => listener.close())
  return Object.assign(listener, { port: (listener.address() as { port: number }).port })
}

interface Refusal {
  readonly code: number
  readonly line: RegExp
  /** How many workers may have been started. */
  readonly workers: number
}

/** Checks that `keyturn serve` with two workers prints the reason in one line, does not retry, and leaves nothing behind. */
async function isRefused(t: Test, env: Record<string, string>, { code, line, workers }: Refusal): Promise<void> {
  const all = { WEB_CONCURRENCY: '2', LOG_LEVEL: 'debug', DATA_DIR: env.DATA_DIR ?? aDataDir(t), ...env }
  const ended = await runKeyturn(['serve'], all)
  t.equal(ended.code, code, ended.stderr)
  t.match(ended.stderr, line)
  t.equal(ended.stderr.trimEnd().split('\n').length, 1, 'in one line')
  const log = ended.stdout
    .trim()
    .split('\n')
    .flatMap((text) => (text === '' ? [] : [JSON.parse(text)]))
  const [tried, hashers] = [livesOf(log, 'worker'), livesOf(log, 'hasher')]
  t.ok(tried.length <= workers && hashers.length <= 1, `${tried.length} workers and ${hashers.length} hashers`)
  t.notOk(
    [...tried, ...hashers].some(({ pid }) => isAlive(pid)),
    'nothing is left'
  )
  t.notMatch(ended.stdout, 'listens on')
}

t.test('start: a first boot that fails prints one line, and is not retried', async (t) => {
  const { port } = await aListener(t)
  const pidfile = join(aDataDir(t), 'pid')
  writeFileSync(pidfile, `${process.pid}\n`)
  const claims = join(aDataDir(t), 'claims.mjs')
  writeFileSync(claims, 'throw new Error("no claims today")')

  await Promise.all([
    isRefused(t, { WEB_CONCURRENCY: '0' }, { code: 78, line: /^WEB_CONCURRENCY: got "0", expected/, workers: 0 }),
    isRefused(t, { PORT: String(port) }, { code: 78, line: /^PORT: cannot listen .* already in use\.$/m, workers: 0 }),
    isRefused(
      t,
      { PIDFILE: pidfile, PORT: '0' },
      { code: 78, line: new RegExp(`^PIDFILE: .* names process ${process.pid}, which is running`), workers: 0 }
    ),
    isRefused(
      t,
      { PIDFILE: '/dev/null/pid', PORT: '0' },
      { code: 78, line: /^PIDFILE: got .*expected a writable file \(ENOTDIR\)/, workers: 0 }
    )
  ])
  t.equal(readFileSync(pidfile, 'utf8'), `${process.pid}\n`, 'the pidfile of another process stays')

  const down = {
    SIGNING_KEY: 'a secret that SIGNING_KEY has for this test',
    DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x'
  }
  const free = join(aDataDir(t), 'pid')
  await isRefused(
    t,
    { ...down, PORT: '0', PIDFILE: free },
    { code: 3, line: /^DATABASE_URL: (?!.*hunter2).*REFUSED/, workers: 2 }
  )
  t.notOk(existsSync(free), 'its own pidfile is removed')
  await isRefused(
    t,
    { CLAIMS_MODULE: claims, PORT: '0' },
    { code: 3, line: /^CLAIMS_MODULE: .*no claims today/, workers: 2 }
  )
})

t.test('start: tables of an older version are refused', { skip: withoutPostgres() }, async (t) => {
  const postgres = await needsPostgres(t, { tcp: true })
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    KEY_ENCRYPTION_SECRET: 'a secret that seals for this test'
  }
  await isRefused(t, { ...env, PORT: '0' }, { code: 3, line: /^DATABASE_URL: .*Run: keyturn migrate$/m, workers: 2 })
})

t.test('start: the exit status does not depend on whether its output is read', async (t) => {
  const { port } = await aListener(t)
  const [file, ...args] = serveCommand
  const settings = testSettings({ PORT: String(port), DATA_DIR: aDataDir(t) })
  const child = spawn(file, args, { env: settings, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stderr.destroy()
  child.stdout.destroy()
  t.strictSame(await once(child, 'exit'), [78, null], 'the exit status is the same')
})

t.test('start: a boot that throws outside its promise, or never ends, is a failed boot', async (t) => {
  const folder = aDataDir(t)
  const module = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const late = module('late.mjs', 'setTimeout(() => { throw new Error("too late") }, 50)\nawait new Promise(() => {})')
  const defect = await runKeyturn(['serve'], { DATA_DIR: aDataDir(t), PORT: '0', CLAIMS_MODULE: late })
  t.equal(defect.code, 3)
  t.match(defect.stderr, /^ {4}at .*late\.mjs/m, 'with its stack')
  t.match(defect.stderr.trimEnd().split('\n').at(-1), 'A worker failed to boot: too late')

  const endless = module('endless.mjs', 'for (;;) {}')
  await isRefused(
    t,
    { PORT: '0', CLAIMS_MODULE: endless, TIMEOUT: '10' },
    {
      code: 3,
      line: /^A worker failed to boot: not ready after \d\d seconds, it exited with SIG(ABRT|KILL)\.$/m,
      workers: 2
    }
  )
})

t.test('start: of two services that start at the same address one is refused', async (t) => {
  const env = { PORT: String(await freePort()), DATA_DIR: aDataDir(t) }
  const both = await Promise.allSettled([startKeyturn(t, env), startKeyturn(t, env)])
  const up = both.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const refused = both.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []))
  t.equal(up.length, 1)
  t.match(refused, [/"PORT: cannot listen on .* the address is already in use\.\\n"/])
  for (const keyturn of up) {
    t.ok(await isUp(keyturn))
    t.equal(await keyturn.stop(), 0)
  }
})

t.test('start: HOST is an address or a name', async (t) => {
  const check = async (host: string): Promise<void> => {
    const keyturn = await startKeyturn(t, { DATA_DIR: aDataDir(t), HOST: host })
    t.match(keyturn.url, host === 'localhost' ? /^http:\/\/localhost:/ : `http://[${host}]:`)
    t.ok(await isUp(keyturn))
    if (host === '::') t.ok(await isUp({ ...keyturn, url: keyturn.url.replace('[::]', '127.0.0.1') }), 'IPv4 too')
    t.equal(await keyturn.stop(), 0)
  }
  await Promise.all(['::1', 'localhost', '::'].map(check))
})

t.test('start: idle connections are kept longer than a router keeps them', async (t) => {
  const keyturn = await startKeyturn(t, { DATA_DIR: aDataDir(t) })
  const { headers } = await fetch(`${keyturn.url}/health/live`)
  t.equal(headers.get('keep-alive'), 'timeout=95')
  t.equal(await keyturn.stop(), 0)
})

t.test('PIDFILE: that of an exited process is replaced, and it is removed at the end', async (t) => {
  const pidfile = join(aDataDir(t), 'pid')
  writeFileSync(pidfile, `${spawnSync('true').pid}\n`)
  const keyturn = await startArbiter(t, { PIDFILE: pidfile })
  t.equal(readFileSync(pidfile, 'utf8'), `${keyturn.pid}\n`)
  const second = await runKeyturn(['serve'], { ...keyturn.settings, PORT: '0' })
  t.match(second, { code: 78, stderr: `PIDFILE: ${pidfile} names process ${keyturn.pid}, which is running` })
  t.equal(readFileSync(pidfile, 'utf8'), `${keyturn.pid}\n`)
  t.equal(await keyturn.stop(), 0)
  t.notOk(existsSync(pidfile))
})

t.test('LISTEN_FDS: a socket that systemd has opened is used', async (t) => {
  const listener = await aListener(t)
  // LISTEN_PID is its own process id, which is known only once it has begun.
  const command = ['sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', 'sh', ...serveCommand] as const
  const handle = (listener as unknown as { _handle: { fd: number } })._handle
  const keyturn = await startArbiter(t, {}, { command: [...command], passed: handle.fd })
  t.equal(keyturn.url, `http://127.0.0.1:${listener.port}`)
  // Only Keyturn accepts on it now.
  listener.close()
  t.ok(await isUp(keyturn))
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')

  const path = join(aDataDir(t), 'socket')
  const unix = createServer().listen(path)
  await once(unix, 'listening')
  t.teardown(() => unix.close())
  const passed = (unix as unknown as { _handle: { fd: number } })._handle.fd
  await t.rejects(startKeyturn(t, { DATA_DIR: aDataDir(t) }, { command: [...command], passed }), {
    message: /LISTEN_FDS: expected file descriptor 3 to be a TCP socket/
  })
})

t.test('start: under npm start and npx it stops with npm', async (t) => {
  const npm = {
    WEB_CONCURRENCY: '1',
    HOME: process.env.HOME ?? '',
    npm_config_update_notifier: 'false',
    npm_config_loglevel: 'silent'
  }
  const start = await startArbiter(t, npm, { command: ['npm', 'start'], cwd: root })
  const all = () => [...start.lives('worker'), ...start.lives('hasher')].map(({ pid }) => pid)
  t.equal(await start.stop(), 0, 'npm start')
  await untilGone(all())

  // A project that has Keyturn among its dependencies, as npm installs it.
  const project = aDataDir(t)
  mkdirSync(join(project, 'node_modules/.bin'), { recursive: true })
  chmodSync(serveCommand[1], 0o755)
  symlinkSync(serveCommand[1], join(project, 'node_modules/.bin/keyturn'))
  const npx = await startArbiter(t, npm, { command: ['npx', '--no', 'keyturn', 'serve'], cwd: project })
  const pids = [...npx.lives('worker'), ...npx.lives('hasher')].map(({ pid }) => pid)
  npx.child.kill('SIGTERM')
  await until(() => npx.lines().some(({ msg }) => msg === 'Keyturn stopped'), 'npx: Keyturn stopped')
  await untilGone(pids)
  await t.rejects(isUp(npx), 'the port is free')
})

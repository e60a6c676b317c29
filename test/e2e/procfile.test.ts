/*
 * The Procfile under a Procfile runner, as Heroku has it: what app.json sets, add-ons that speak TLS with certificates of
 * their own making and refuse anything else, a router in front, and signals to every process.
 */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { devNull } from 'node:os'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { until } from '../conformance/feed.ts'
import { freePort } from '../support/engines.ts'
import { aDataDir, post, runKeyturn, startKeyturn, testSettings } from '../support/keyturn.ts'
import { needsPostgres, withoutPostgres, withoutRedis } from '../support/needs.ts'
import { makeCertificates, startTlsRedis, turnOnTls } from '../support/tls.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const foreman = fileURLToPath(import.meta.resolve('foreman/nf.js'))
const given = process.env.TEST_REDIS_URL ?? process.env.TEST_DATABASE_URL
const skip = given ? 'it needs servers of its own' : withoutPostgres() || withoutRedis()

/** The platform's patience with a start (R10) and with a stop (R12), in milliseconds. */
const [bootTimeout, killTimeout] = [60_000, 30_000]

interface Variable {
  readonly value?: string
  readonly generator?: 'secret'
}

/** The config vars that the deploy button sets. */
function configVars(): Record<string, string> {
  const { env } = JSON.parse(readFileSync(`${root}app.json`, 'utf8')) as { env: Record<string, Variable> }
  const secret = () => randomBytes(32).toString('hex')
  const entries = Object.entries(env).map(([name, { value, generator }]) => [name, generator ? secret() : value])
  return Object.fromEntries(entries)
}

/** A process type of the Procfile, on `port` where it listens. */
function run(t: Test, type: string, port: number, env: Record<string, string>) {
  const args = [foreman, '--procfile', 'Procfile', '--env', devNull, '--port', `${port}`, 'start', '--raw', type]
  // foreman calls what newer versions of Node warn of, in between our lines.
  const child = spawn(process.execPath, ['--no-deprecation', ...args], {
    cwd: root,
    env: testSettings(env),
    stdio: ['ignore', 'pipe', 'pipe']
  })
  t.teardown(() => child.kill('SIGINT'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const closed = once(child, 'close')
  return {
    pid: child.pid,
    output: () => output,
    async ended(): Promise<string> {
      await closed
      return output
    }
  }
}

/** Every line that is JSON. */
const logOf = (output: string): Record<string, unknown>[] =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))

/** What `ps` says of processes, a number each. */
const ps = (field: 'ppid' | 'rss', pids: readonly number[]): number[] =>
  execFileSync('ps', ['-o', `${field}=`, '-p', pids.join()], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)
    .map(Number)

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('the Procfile on Heroku', { skip }, async (t) => {
  const certificates = makeCertificates()
  t.teardown(() => certificates.remove())
  const postgres = await needsPostgres(t, { tcp: true, own: true })
  await turnOnTls(postgres, certificates.selfSigned, { isDemanded: true })
  const redis = await startTlsRedis(certificates, certificates.selfSigned, ['--requirepass', 'of-the-add-on'])
  t.teardown(() => redis.stop())
  const env = {
    ...configVars(),
    NODE_ENV: 'production',
    DYNO: 'web.1',
    WEB_CONCURRENCY: '1',
    DATABASE_URL: postgres.url,
    REDIS_URL: `rediss://:of-the-add-on@${redis.host}`
  }

  await t.test('release: twice at once, again, and without its database', async (t) => {
    const release = async (changes: Record<string, string> = {}) =>
      await run(t, 'release', await freePort(), { ...env, ...changes }).ended()
    const outputs = await Promise.all([release(), release()])
    for (const output of outputs) t.match(output, /Exited Successfully/)
    t.equal(outputs.join('').match(/^Applied 001/gm)?.length, 1, 'one of them did it')
    t.equal(outputs.join('').match(/^The database is up to date/gm)?.length, 1, 'and the other one waited')
    t.match(await release(), /up to date.*Exited Successfully/s)

    const failed = await release({ PGSSLMODE: '' })
    t.match(failed, /^DATABASE_URL: cannot be used, .*no encryption; encrypt with PGSSLMODE=require/m)
    t.match(failed, /Exited with exit code/, 'which stops the release')
  })

  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const web = run(t, 'web', port, env)
  let pids: readonly number[] = []

  await t.test('web listens on the port it is given, and fits into a small dyno', async (t) => {
    const ms = await until(() => web.output().includes('Keyturn listens'), bootTimeout)
    t.comment(`after ${Math.round(ms)} ms`)
    const greeting = logOf(web.output()).find(({ msg }) => msg === `Keyturn listens on http://[::]:${port}`)
    const { pid, workers, hashers } = greeting as { pid: number; workers: number[]; hashers: number[] }
    pids = [pid, ...workers, ...hashers]
    t.equal(pids.length, 3, 'an arbiter, a worker and a hasher')
    t.same(ps('ppid', [pid]), [web.pid], 'no shell between the platform and the arbiter')
    const megabytes = ps('rss', pids).reduce((sum, kilobytes) => sum + kilobytes / 1024, 0)
    t.ok(megabytes < 400, `${Math.round(megabytes)} MB of 512`)
    t.equal((await fetch(`${url}/health/ready`)).status, 200)
    t.match(await runKeyturn(['users', 'create', 'vitor'], env, 'correct horse'), { code: 0 })
    t.equal((await post(`${url}/api/token/`, { username: 'vitor', password: 'correct horse' })).status, 200)
  })

  await t.test('web believes the router', async (t) => {
    const id = '01234567-89ab-cdef-0123-456789abcdef'
    const routed = request(`${url}/api/token/verify/`, {
      method: 'POST',
      headers: { 'x-request-id': id, 'x-forwarded-for': '198.51.100.9, 192.0.2.1', 'x-forwarded-proto': 'https' }
    }).end()
    const [answer] = await once(routed, 'response')
    answer.resume()
    t.match(answer.headers, { 'x-request-id': id, 'keep-alive': 'timeout=95' }, 'open longer than the router keeps it')
    const lineOf = () => logOf(web.output()).find(({ reqId }) => reqId === id)
    await until(() => lineOf() !== undefined, 10_000)
    t.match(lineOf(), { ip: '192.0.2.1', route: '/api/token/verify', status: 400 }, 'the client is whom the router saw')
  })

  await t.test('web ends when all its processes get a SIGTERM, twice', async (t) => {
    const socket = connect(port, '127.0.0.1').setEncoding('utf8')
    const read = async (): Promise<string> => {
      let text = ''
      while (!text.endsWith('}')) text += (await once(socket, 'data'))[0]
      return text
    }
    const head =
      'POST /api/token/verify/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n'
    socket.write(`${head}{"token":"x"}`)
    t.match(await read(), /^HTTP\/1\.1 401 .*\r\nconnection: keep-alive\r\n/is)
    socket.write(`${head}{"token"`)
    const began = performance.now()
    for (const each of [...pids, ...pids]) process.kill(each, 'SIGTERM')
    await until(() => web.output().includes('Keyturn stopping'), 10_000)
    socket.write(':"x"}')
    t.match(await read(), /^HTTP\/1\.1 401 .*\r\nconnection: close\r\n/is, 'what was in flight is answered')
    const output = await web.ended()
    t.match(output, /Exited Successfully/, 'with 0')
    t.ok(performance.now() - began < killTimeout, 'before the platform kills')
    t.same(pids.filter(isAlive), [], 'and nothing is left')
    const ofForeman = /^\[(OKAY|DONE)\]|Exited Successfully$/
    const rest = output.split('\n').filter((line) => line !== '' && !line.startsWith('{') && !ofForeman.test(line))
    t.same(rest, [], 'all it said is JSON')
  })
})

t.test('a dyno without add-ons is warned that it keeps nothing', async (t) => {
  const keyturn = await startKeyturn(t, { DATA_DIR: aDataDir(t), DYNO: 'web.1' })
  const warnings = () => logOf(keyturn.output().stdout).filter(({ level }) => level === 'warn')
  await until(() => warnings().length > 0, 10_000)
  t.match(warnings(), [{ msg: /loses its files.*DATABASE_URL and REDIS_URL/ }])
  t.equal(await keyturn.stop(), 0)
})

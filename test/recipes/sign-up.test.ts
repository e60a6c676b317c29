/* docs/recipes/sign-up.md as printed: a service that has nothing but Keyturn's endpoints, which run on Redis and PostgreSQL. */
import { spawn } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { until } from '../conformance/feed.ts'
import { freePort } from '../support/engines.ts'
import { aDataDir, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, needsRedis } from '../support/needs.ts'
import { fillIn, readBlock } from '../support/recipes.ts'

const page = 'sign-up.md'
const postgres = await needsPostgres(t, { tcp: true })
const redis = await needsRedis(t, { tcp: true })

interface SignUp {
  /** A text is sent as it is, an object as JSON. */
  post(path: string, body: object | string): Promise<{ status: number; body: Record<string, unknown> }>
  /** The token in the newest mail. */
  mailed(address: string, purpose: string): Promise<string>
}

/** Starts the service, which ends with `t`. */
async function startSignUp(t: Test, keyturnUrl: string, secret: string): Promise<SignUp> {
  const folder = aDataDir(t)
  const mails = join(folder, 'mails')
  const port = await freePort()
  const own = `import { appendFile } from 'node:fs/promises'
    export const isInviter = async () => {}
    export const sendMail = (...mail) => appendFile(${JSON.stringify(mails)}, JSON.stringify(mail) + '\\n')`
  const places = { 'http://127.0.0.1:8000': keyturnUrl, 'port: 3000': `port: ${port}, host: '127.0.0.1'` }
  writeFileSync(mails, '')
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(join(folder, 'own.js'), own)
  writeFileSync(join(folder, 'sign-up.js'), fillIn(readBlock(page, 'sign-up.js'), places))
  symlinkSync(fileURLToPath(new URL('../../../node_modules', import.meta.url)), join(folder, 'node_modules'))
  const env = { PATH: process.env.PATH, CLIENT_SECRET: secret }
  const child = spawn(process.execPath, ['sign-up.js'], { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => child.kill())
  const url = `http://127.0.0.1:${port}`
  await until(() =>
    fetch(url).then(
      () => true,
      () => false
    )
  )
  const find = (address: string, purpose: string): string | undefined =>
    readFileSync(mails, 'utf8')
      .split('\n')
      .filter((line) => line.endsWith(']'))
      .map((line): [string, string, string] => JSON.parse(line))
      .findLast(([to, why]) => to === address && why === purpose)?.[2]
      .split('#')[1]
  return {
    async post(path, body) {
      const headers = { 'content-type': 'application/json' }
      const sent = typeof body === 'string' ? body : JSON.stringify(body)
      const answer = await fetch(url + path, { method: 'POST', headers, body: sent })
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
    },
    async mailed(address, purpose) {
      await until(async () => find(address, purpose) !== undefined)
      return find(address, purpose) ?? ''
    }
  }
}

t.test('the service has at most 60 lines', async (t) => {
  const lines = readBlock(page, 'sign-up.js').trimEnd().split('\n')
  t.ok(lines.length <= 60, `${lines.length} lines`)
  t.same(
    lines.filter((line) => line.length > 120),
    []
  )
})

t.test('users sign up, verify, log in, are invited and reset their passwords, over HTTP alone', async (t) => {
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    REDIS_URL: redis.url,
    KEY_ENCRYPTION_SECRET: 'a secret that encrypts the keys of this test',
    WEB_CONCURRENCY: '2',
    HASH_QUEUE: '256'
  }
  t.equal((await runKeyturn(['migrate'], env)).code, 0)
  const created = await runKeyturn(['clients', 'create', 'sign-up', '--scopes', 'keyturn.users', '--json'], env)
  const keyturn = await startKeyturn(t, env)
  const service = await startSignUp(t, keyturn.url, JSON.parse(created.stdout).client_secret)
  const logIn = async (username: string, password: string) =>
    (await service.post('/login', { username, password })).status

  t.equal((await service.post('/login', '{')).status, 400, 'a fault of the caller is not one of the service')
  const ann = { username: 'ann@app.example', password: 'correct horse battery' }
  t.match(await service.post('/sign-up', { ...ann, password: 'short' }), { status: 400, body: { password: [/short/] } })
  t.equal((await service.post('/sign-up', ann)).status, 202)
  t.equal((await service.post('/sign-up', ann)).status, 409)
  t.equal(await logIn(ann.username, ann.password), 401, 'not before the address is verified')
  const token = await service.mailed(ann.username, 'verify')
  t.match(await service.post('/verify', { token }), { status: 200, body: { username: ann.username, is_active: true } })
  t.equal((await service.post('/verify', { token })).status, 400)
  t.equal(await logIn(ann.username, ann.password), 200)

  const ben = 'ben@app.example'
  t.equal((await service.post('/invite', { username: ben })).status, 202)
  const invitation = { token: await service.mailed(ben, 'invite'), new_password: 'short' }
  t.equal((await service.post('/set-password', invitation)).status, 400)
  t.equal((await service.post('/set-password', { ...invitation, new_password: 'a horse of my own' })).status, 200)
  t.equal(await logIn(ben, 'a horse of my own'), 200)

  const { body } = await service.post('/login', ann)
  for (const username of ['unknown@app.example', ann.username])
    t.equal((await service.post('/forgot', { username })).status, 202)
  const reset = { token: await service.mailed(ann.username, 'password_reset'), new_password: 'staple under the bridge' }
  const answers = await Promise.all(Array.from({ length: 100 }, () => service.post('/set-password', reset)))
  const statuses = answers.map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 200).length, 1, 'of 100 redemptions at two workers one succeeds')
  t.same([...new Set(statuses)].toSorted(), [200, 400])
  t.equal(await logIn(ann.username, ann.password), 401)
  t.equal(await logIn(ann.username, reset.new_password), 200)
  const refresh = await fetch(`${keyturn.url}/api/token/refresh/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ refresh: body.refresh })
  })
  t.equal(refresh.status, 401, 'the session from before the reset has ended')
})

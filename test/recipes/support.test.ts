/* docs/recipes/support.md as printed: its commands, in bash, against a service on Redis and PostgreSQL. */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { until } from '../support/arbiter.ts'
import { aDataDir, post, type RunningKeyturn, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, needsRedis } from '../support/needs.ts'
import { readBlocks } from '../support/recipes.ts'

const lacks = ['bash', 'curl', 'jq'].find((program) => spawnSync(program, ['--version']).error !== undefined)
const skip = lacks === undefined ? false : `no ${lacks}`
const postgres = await needsPostgres(t, { tcp: true })
const redis = await needsRedis(t, { tcp: true })

const page = fileURLToPath(new URL('../../../docs/recipes/support.md', import.meta.url))
const block = readBlocks(page)
const staffPassword = 'a password of someone in support'

/** The blocks of the page by the comment in their first line. */
const commands = {
  logIn: block('# log in').replace('https://auth.example', '$keyturn'),
  find: block('# find a user by the beginning of the name, which is case-sensitive'),
  show: block('# show one user, with the number of sessions'),
  sessions: block('# list sessions, newest first'),
  endOne: block('# end one session: a lost phone'),
  endAll: block('# end all sessions: {"ended": 3}'),
  deactivate: block('# deactivate: ends all sessions, and neither login nor refresh works'),
  activate: block('# activate again; sessions that have ended stay ended'),
  mail: block('# have the user sent a mail'),
  link: block('# issue a link'),
  history: block('# the newest entries of a user: logins and failures with addresses, and what support did'),
  logOut: block('# log out: ends your own sessions')
} as const

type Command = keyof typeof commands

/** Someone in support at a shell, logged in: runs commands of the page and resolves with what each one printed. */
function openShell(t: Test, { url }: RunningKeyturn, username: string) {
  const home = aDataDir(t)
  const tried = new Set<Command>()
  const run = async (command: Command, variables: Readonly<Record<string, string>> = {}) => {
    tried.add(command)
    const script = `set -euo pipefail\n{ ${commands.logIn}\n} <<< $USERNAME$'\\n'$PASSWORD > /dev/null\n${commands[command]}`
    const env = { PATH: process.env.PATH, HOME: home, keyturn: url, USERNAME: username, PASSWORD: staffPassword }
    const child = spawn('bash', ['-c', script], { env: { ...env, ...variables }, stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, errors] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()])
    await until(async () => child.exitCode !== null)
    return { code: child.exitCode, out: Buffer.concat(out).toString(), errors: Buffer.concat(errors).toString() }
  }
  return { run, tried, home }
}

async function openService(t: Test) {
  const folder = aDataDir(t)
  const hooks = join(folder, 'hooks.mjs')
  const mails = join(folder, 'mails')
  writeFileSync(mails, '')
  writeFileSync(
    hooks,
    `import { appendFile } from 'node:fs/promises'
     export const onPasswordResetRequested = (user) => appendFile(${JSON.stringify(mails)}, user.username + '\\n')`
  )
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    REDIS_URL: redis.url,
    KEY_ENCRYPTION_SECRET: 'a secret that encrypts the keys of this test',
    HOOKS_MODULE: hooks,
    WEB_CONCURRENCY: '2',
    RATE_LIMIT_OBTAIN: 'off'
  }
  const keyturn = (args: readonly string[], input = '') => runKeyturn(args, env, input)
  t.equal((await keyturn(['migrate'])).code, 0)
  const create = async (username: string, password: string, scope?: string) => {
    t.equal((await keyturn(['users', 'create', username], password)).code, 0)
    if (scope === undefined) return
    t.equal((await keyturn(['users', 'set-claims', username], JSON.stringify({ scope }))).code, 0)
  }
  const scopes = [
    ...readFileSync(page, 'utf8').matchAll(/echo '\{"scope": "(.+)"\}' \| keyturn users set-claims (\S+)/g)
  ]
  for (const [, scope, username = ''] of scopes) await create(username, staffPassword, scope)
  await create('vitor@app.example', 'correct horse')
  await create('root@app.example', 'correct horse', 'keyturn.admin')
  const running = await startKeyturn(t, env)
  const logIn = (password = 'correct horse') =>
    post(`${running.url}/api/token/`, { username: 'vitor@app.example', password })
  const refresh = async ({ body }: Awaited<ReturnType<typeof logIn>>) =>
    (await post(`${running.url}/api/token/refresh/`, { refresh: body.refresh ?? '' })).status
  return { running, logIn, refresh, mails }
}

t.test('second line: every command of the page', { skip }, async (t) => {
  const { running, logIn, refresh, mails } = await openService(t)
  const { run, tried, home } = openShell(t, running, 'second@support.example')
  const logins = [await logIn(), await logIn(), await logIn()]
  const found = await run('find', { name: 'vit' })
  t.equal(found.code, 0, found.errors)
  t.match(JSON.parse(found.out), { username: 'vitor@app.example', is_active: true })
  const { id } = JSON.parse(found.out)
  t.match(JSON.parse((await run('show', { id })).out), { id, sessions: 3 })

  const sessions = (await run('sessions', { id })).out.trim().split('\n')
  t.equal(sessions.length, 3)
  const [sid = '', , ip] = sessions[0]?.split('\t') ?? []
  t.equal(ip, '127.0.0.1')
  t.equal((await run('endOne', { id, sid })).code, 0)
  t.match((await run('endOne', { id, sid })).code, 22, 'it has ended: 404')
  t.same(JSON.parse((await run('endAll', { id })).out), { ended: 2 })
  t.same(await Promise.all(logins.map(refresh)), [401, 401, 401])

  const again = await logIn()
  t.match(JSON.parse((await run('deactivate', { id })).out), { is_active: false })
  t.same([await refresh(again), (await logIn()).status], [401, 401])
  t.match(JSON.parse((await run('activate', { id })).out), { is_active: true })
  t.same([await refresh(again), (await logIn()).status], [401, 200])

  t.equal((await run('mail', { name: 'vitor@app.example' })).code, 0)
  await until(async () => readFileSync(mails, 'utf8') === 'vitor@app.example\n')
  const link = (await run('link', { id })).out.trim()
  t.match(link, /^https:\/\/app\.example\/reset\.html#[\w-]{20,}$/)
  const reset = { token: link.split('#')[1] ?? '', new_password: 'staple under the bridge' }
  const answer = await fetch(`${running.url}/api/password/reset/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(reset)
  })
  t.equal(answer.status, 204)
  t.equal((await logIn(reset.new_password)).status, 200)

  const history = (await run('history', { id })).out.trim().split('\n')
  t.match(history.at(-1), /\t/)
  for (const act of ['session_revoke', 'user_deactivate', 'user_activate', 'one_time_token'])
    t.ok(
      history.some((line) => line.includes(`\t${act}\tok\t127.0.0.1\tuser:`)),
      `${act} names the person`
    )
  t.equal((await run('logOut')).code, 0)
  t.throws(() => readFileSync(join(home, '.support-token')))
  t.same(
    Object.keys(commands).filter((command) => command !== 'logIn' && !tried.has(command as Command)),
    [],
    'all were tried'
  )
})

t.test('first line: sees and ends sessions, and nothing else; administrators are out of reach', { skip }, async (t) => {
  const { running, logIn } = await openService(t)
  const first = openShell(t, running, 'first@support.example')
  const second = openShell(t, running, 'second@support.example')
  await logIn()
  const { id } = JSON.parse((await first.run('find', { name: 'vitor' })).out)
  t.same(JSON.parse((await first.run('endAll', { id })).out), { ended: 1 })
  for (const command of ['deactivate', 'link', 'history'] as const) {
    const { code, out, errors } = await first.run(command, { id })
    t.not(code, 0, command)
    t.match(`${out}${errors}`, /403/, command)
  }
  const root = JSON.parse((await second.run('find', { name: 'root' })).out).id
  for (const command of ['deactivate', 'link'] as const)
    t.match(await second.run(command, { id: root }), { code: 22, errors: /403/ }, command)
})

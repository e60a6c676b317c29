import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { settings, variableOf } from '../../src/config/settings.ts'
import { makePasswordHasher } from '../../src/passwords/hasher.ts'
import { openEmbedded } from '../../src/stores/embedded/engine.ts'
import { openStores } from '../../src/stores/open.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { makeUserStore } from '../../src/stores/sql/users.ts'
import { systemClock } from '../../src/time.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutRedis } from '../support/needs.ts'
import { createRole } from '../support/postgres.ts'
import { onTerminal, withoutTerminal } from '../support/terminal.ts'

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const password = 'correct horse'
const hasher = makePasswordHasher({ memory: 8192, time: 1, parallelism: 1, queue: 1, form: 'argon2id', rehash: false })

type Environment = Readonly<Record<string, string>>

interface Run {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

// What this process was configured with is not meant for those that are tested.
const isSetting = (name: string): boolean => name === 'NODE_ENV' || Object.keys(settings).map(variableOf).includes(name)
const surroundings = Object.fromEntries(Object.entries(process.env).filter(([name]) => !isSetting(name)))
const cheap = { ARGON2_MEMORY: '8192', ARGON2_TIME: '1' }

/** Runs `keyturn` as people do, with `input` as the whole of its standard input. */
async function keyturn(args: readonly string[], env: Environment = {}, input: string | Buffer = ''): Promise<Run> {
  const child = spawn(process.execPath, [main, ...args], { env: { ...surroundings, ...cheap, ...env } })
  const texts = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text) => {
    texts.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    texts.err += text
  })
  child.stdin.on('error', () => {}) // a command that reads nothing has gone
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code, ...texts }
}

/** Two at a time: as many as there are processors at least. */
async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]()
  const worker = async () => {
    for (const item of rest) await work(item)
  }
  await Promise.all([worker(), worker()])
}

/** The command printed in one line why it was refused. */
const isRefused = (t: Test, run: Run, why: RegExp, code = 1): void => {
  t.equal(run.code, code, `exit status after: ${run.err}`)
  t.match(run.err, why)
  t.equal(run.err.trim().split('\n').length, 1, 'one line')
  t.notMatch(run.err, /\n\s+at /, 'no stack')
  t.equal(run.out, '')
}

const list = async (env: Environment): Promise<readonly Record<string, unknown>[]> => {
  const { code, out } = await keyturn(['users', 'list', '--json'], env)
  if (code !== 0) throw new Error(`users list ended with ${code}`)
  return out
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}

t.test('users whose names a Django table holds, and Keyturn refuses for new users', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'data') }
  const names = ['tab\tname', 'escape\x1b[31m\x9b', ' padded ', `long${'x'.repeat(300)}`]
  t.same(await list(env), [])
  const db = openEmbedded(env.DATA_DIR)
  for (const name of names) await makeUserStore(db, systemClock).create(name, await hasher.hash(password))
  await db.close()
  for (const name of names) {
    const runs = [
      await keyturn(['users', 'deactivate', '--', name], env),
      await keyturn(['users', 'set-password', '--no-policy', '--', name], env, 'another horse'),
      await keyturn(['sessions', 'list', '--', name], env)
    ]
    for (const { code, out, err } of runs) {
      t.equal(code, 0, err)
      t.notMatch(out + err, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/, 'the output is escaped')
    }
    t.match(await keyturn(['users', 'create', '--', name], env, password), { code: 2, err: /It must/ })
  }
  t.strictSame(new Set((await list(env)).map(({ is_active }) => is_active)), new Set([false]))
  isRefused(t, await keyturn(['users', 'activate', 'no\ttab'], env), /The user "no\\ttab" does not exist/)
  t.match(await keyturn(['users', 'activate', ''], env), { code: 2, err: /It must not be blank/ })
})

t.test('users, from the first to the last command', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'data') }
  const digestOf = async (name: string) => {
    const db = openEmbedded(env.DATA_DIR)
    const user = await makeUserStore(db, systemClock).findByUsername(name)
    await db.close()
    return user?.passwordHash
  }

  const created = await keyturn(['users', 'create', 'ann'], env, `${password}\n`)
  t.match(created, { code: 0, out: /^[0-9a-f-]{36}\n$/, err: /Created the user "ann"/ })
  t.equal(await hasher.verify(password, await digestOf('ann')), true, 'the newline is not part of it')
  t.equal(statSync(join(env.DATA_DIR, 'keyturn.db')).mode & 0o777, 0o600)
  isRefused(t, await keyturn(['users', 'create', 'ann'], env, password), /"ann" already exists/)

  await keyturn(['users', 'create', '\u{ff22}en'], env, password)
  const users = await list(env)
  t.match(users, [
    { username: 'Ben', is_active: true },
    { username: 'ann', id: created.out.trim(), is_active: true, created_at: /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ }
  ])
  t.notMatch(JSON.stringify(users), /argon2/, 'a digest is not shown')

  t.match(await keyturn(['users', 'set-password', 'ann'], env, 'another password\r\n'), { code: 0, out: '' })
  t.equal(await hasher.verify('another password', await digestOf('ann')), true)
  t.equal(await hasher.verify(password, await digestOf('ann')), false)

  t.match(await keyturn(['users', 'deactivate', 'ann'], env), { code: 0, err: /Deactivated "ann"/ })
  t.match(await list(env), [{ is_active: true }, { username: 'ann', is_active: false }])
  t.match(await keyturn(['users', 'activate', 'ann'], env), { code: 0, err: /Activated "ann"/ })
  t.match(await list(env), [{ is_active: true }, { username: 'ann', is_active: true }])

  const table = (await keyturn(['users', 'list'], env)).out.trim().split('\n')
  t.match(table, [/^username +id +active +created$/, /^Ben +[0-9a-f-]{36} +yes +20\S+Z$/, /^ann /])
})

t.test('what locks a user out ends the sessions', async (t) => {
  const env = { DATA_DIR: t.testdir() }
  const id = (await keyturn(['users', 'create', 'ann'], env, password)).out.trim()
  const logIn = async (times: number) => {
    const stores = await openStores(loadConfig(env), systemClock)
    for (let login = 0; login < times; login++)
      await stores.sessions.start(id, { ip: '192.0.2.1', userAgent: 'curl/8' })
    await stores.close()
  }
  const sessions = async () => {
    const { out } = await keyturn(['sessions', 'list', 'ann', '--json'], env)
    return out === ''
      ? []
      : out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
  }
  await logIn(3)
  const [first] = await sessions()
  t.match(first, { id: /^[0-9a-f]{32}$/, ip: '192.0.2.1', user_agent: 'curl/8', expires_at: /^20.*Z$/ })
  t.match((await keyturn(['sessions', 'list', 'ann'], env)).out, /^id .*\n([0-9a-f]{32} .* 192\.0\.2\.1 curl\/8\n){3}$/)
  t.match(await keyturn(['sessions', 'revoke', 'ann', first.id], env), { code: 0, err: /Ended one session/ })
  isRefused(t, await keyturn(['sessions', 'revoke', 'ann', first.id], env), /no session/)
  t.equal((await sessions()).length, 2)
  t.match(await keyturn(['users', 'set-password', 'ann'], env, 'another password'), {
    code: 0,
    err: /ended 2 sessions/
  })
  t.same(await sessions(), [])
  await logIn(1)
  t.match(await keyturn(['users', 'deactivate', 'ann'], env), { code: 0, err: /ended one session/ })
  await logIn(2)
  t.match(await keyturn(['sessions', 'revoke', 'ann'], env), { code: 0, err: /Ended 2 sessions/ })
  isRefused(t, await keyturn(['users', 'delete', 'ann'], env), /confirm with --yes/)
  t.match(await keyturn(['users', 'delete', 'ann', '--yes'], env), { code: 0, err: /Deleted "ann"/ })
  isRefused(t, await keyturn(['sessions', 'list', 'ann'], env), /user "ann" does not exist/)
})

t.test('on a terminal a password is asked for twice and never shown', { skip: withoutTerminal() }, async (t) => {
  const env = { DATA_DIR: t.testdir() }
  const onTty = (args: readonly string[], answers: readonly string[]) =>
    onTerminal([process.execPath, main, ...args], { ...surroundings, ...cheap, ...env }, answers)
  const typed = (...answers: readonly string[]) => onTty(['users', 'create', 'ann'], answers)
  t.match(await typed(`${password}\r`, 'another password\r'), { code: 1, out: /The two entries differ/ })
  t.match(await typed('\x03'), { code: 1, out: /Cancelled; nothing was changed/ }, 'Ctrl-C')
  t.match(await typed('\x04'), { code: 1, out: /Cancelled; nothing was changed/ }, 'Ctrl-D')
  t.same(await list(env), [])
  const run = await typed(`${password}\r`, `${password}\r`)
  t.match(run, { code: 0, out: /Password for ann: .*Password for ann, again: .*Created the user "ann"/s })
  t.notMatch(run.out, password)
  t.match(await list(env), [{ username: 'ann' }])
  const remove = (answer: string) => onTty(['users', 'delete', 'ann'], [answer])
  t.match(await remove('\r'), { code: 1, out: /Nothing was changed/ })
  t.match(await remove('y\r'), { code: 0, out: /Deleted "ann"/ })
})

t.test('a refusal says why, and changes nothing', async (t) => {
  const env = { DATA_DIR: t.testdir() }
  const create = (input: string | Buffer, ...options: string[]) =>
    keyturn(['users', 'create', 'ann', ...options], env, input)
  isRefused(t, await create('short'), /too short: at least 8/)
  isRefused(t, await create('space at the end \n'), /white space/)
  isRefused(t, await create(Buffer.from('7061737377f67264', 'hex')), /not UTF-8/)
  isRefused(t, await create('', '--no-policy'), /must not be empty/)
  t.same(await list(env), [])
  for (const command of ['set-password', 'activate', 'deactivate']) {
    isRefused(t, await keyturn(['users', command, 'unknown'], env, password), /user "unknown" does not exist/)
  }
  t.match(await create('short', '--no-policy'), { code: 0 })
})

t.test('wrong usage ends with 2', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'none') }
  const wrong = [
    [],
    ['nonsense'],
    ['users'],
    ['users', 'create'],
    ['users', 'create', ' ann'],
    ['users', 'create', 'a\nb'],
    ['users', 'create', 'x'.repeat(255)],
    ['migrate', 'now']
  ]
  await inTurns(wrong, async (args) => {
    const run = await keyturn(args, env)
    t.equal(run.code, 2, JSON.stringify(args))
    t.match(run.err, /^(error: |Usage: keyturn)/)
    t.notMatch(run.err, /\n\s+at /)
    t.equal(run.out, '')
  })
  const extra = await keyturn(['users', 'create', 'ann', password], env)
  t.equal(extra.code, 2, 'a password is never an argument')
  t.notMatch(extra.err, password, 'and not repeated')
  t.notOk(existsSync(env.DATA_DIR), 'nothing was opened')
  await inTurns([['--help'], ['users', 'create', '--help']], async (args) => {
    t.match(await keyturn(args, env), { code: 0, out: /^Usage: keyturn/, err: '' })
  })
})

t.test('a wrong configuration ends with 78 and all its faults', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'none'), PORT: 'x', LEEWAY: '1y', SIGNING_KEY: 'hunter2' }
  await inTurns([['check-config'], ['migrate'], ['users', 'create', 'ann']], async (command) => {
    const run = await keyturn(command, env, password)
    t.equal(run.code, 78, command.join(' '))
    t.match(run.err, /^PORT: got "x".*\n(.*\n)*LEEWAY: got "1y"/m)
    t.notMatch(run.err, /hunter2|\n\s+at /)
    t.equal(run.out, '')
  })
  t.match((await keyturn(['check-config'], env)).err, /^SIGNING_KEY: got 7 bytes/m, 'the key is looked at too')
  t.notOk(existsSync(env.DATA_DIR))
})

/** Runs `keyturn` with a standard output on a full disk. */
async function keyturnToFullDisk(args: readonly string[], env: Environment): Promise<Omit<Run, 'out'>> {
  const full = openSync('/dev/full', 'w')
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...surroundings, ...cheap, ...env },
    stdio: ['ignore', full, 'pipe']
  })
  closeSync(full)
  let err = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    err += text
  })
  const [code] = await once(child, 'close')
  return { code, err }
}

t.test('a standard output that cannot be written is one line and exit status 1', async (t) => {
  const env = { DATA_DIR: t.testdir() }
  t.match(await keyturn(['users', 'create', 'ann'], env, password), { code: 0 })
  const commands = [['--help'], ['--version'], ['users', 'list'], ['check-config', '--print']]
  await inTurns(commands, async (command) => {
    const { code, err } = await keyturnToFullDisk(command, env)
    t.equal(code, 1, command.join(' '))
    t.equal(err, 'Standard output cannot be written (ENOSPC); what the command printed is incomplete.\n')
  })
  const secrets: readonly (readonly [command: readonly string[], lost: string])[] = [
    [
      ['clients', 'create', 'shop'],
      'the secret of the client "shop" is lost. Use clients rotate-secret to replace it.'
    ],
    [
      ['users', 'one-time-token', 'ann', '--purpose', 'password_reset'],
      'the token of "ann" is lost. Run the command again.'
    ]
  ]
  for (const [command, lost] of secrets) {
    const { code, err } = await keyturnToFullDisk(command, env)
    t.equal(code, 1, command.join(' '))
    t.equal(err.trimEnd().split('\n').at(-1), `Standard output cannot be written (ENOSPC); ${lost}`)
    t.notMatch(err, /\n\s+at /, 'no stack')
  }
})

t.test('migrate and check-config without servers', async (t) => {
  const env = { DATA_DIR: join(t.testdir(), 'data') }
  const checked = await keyturn(['check-config'], env)
  t.match(checked, {
    code: 0,
    out: /^Configuration is valid\.\nUsers and keys: embedded.*\nSessions: embedded/,
    err: ''
  })
  t.notOk(existsSync(env.DATA_DIR), 'to look makes nothing')
  t.match(await keyturn(['migrate'], env), { code: 0, out: /^(Applied \d+\.do\.[\w-]+\.sql\n)+$/, err: '' })
  t.match(await keyturn(['migrate'], env), { code: 0, out: 'The database is up to date.\n' })
  const printed = await keyturn(['check-config', '--print'], { ...env, SIGNING_KEY: 'hunter2'.repeat(5) })
  t.match(printed, { code: 0, out: /^PORT=8000\n(.*\n)*SIGNING_KEY=\(set\)\n(.*\n)*Configuration is valid\./ })
  t.notMatch(printed.out, 'hunter2')
  t.match(await keyturn(['check-config'], { ...env, PORT: '81', MANAGEMENT_PORT: '81' }), {
    code: 78,
    out: '',
    err: 'MANAGEMENT_PORT: got 81, which is PORT, expected another port.\n'
  })
  const hooks = join(t.testdir({ 'hooks.mjs': 'export const onLogin = () => {}' }), 'hooks.mjs')
  t.match(await keyturn(['check-config'], { ...env, HOOKS_MODULE: hooks }), {
    code: 78,
    out: '',
    err: /^HOOKS_MODULE: got .* whose export onLogin is not a hook, expected .*\n$/
  })
})

t.test('a server that is away', async (t) => {
  const env = { DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x', REDIS_URL: 'redis://:hunter2@127.0.0.1:1' }
  const key = { SIGNING_KEY: '0123456789abcdef'.repeat(4) }
  const checked = await keyturn(['check-config'], { ...env, ...key })
  t.match(checked, { code: 1, out: /^Configuration is valid\.\nUsers and keys: .*ECONNREFUSED.*\nSessions: .*Redis/ })
  const migrated = await keyturn(['migrate'], { ...env, ...key })
  t.not(migrated.code, 0)
  t.match(migrated.err, /^.*ECONNREFUSED.*\n$/, 'one line')
  for (const { out, err } of [checked, migrated]) t.notMatch(out + err, /hunter2|\n\s+at /)
})

t.test('users in PostgreSQL', { skip: withoutPostgres() || withoutRedis() }, async (t) => {
  const [server, redis] = [await needsPostgres(t), await needsRedis(t, { tcp: true })]
  const DATABASE_URL = await server.createDatabase()
  const env = {
    DATABASE_URL,
    REDIS_URL: redis.url,
    KEY_ENCRYPTION_SECRET: 'x'.repeat(32),
    DATA_DIR: join(t.testdir(), 'none')
  }
  isRefused(t, await keyturn(['users', 'list'], env), /Run: keyturn migrate/)
  isRefused(t, await keyturn(['users', 'create', 'ann'], env, password), /Run: keyturn migrate/)
  t.match(await keyturn(['check-config'], env), {
    code: 1,
    out: /tables are missing.*Run: keyturn migrate\nSessions: Redis responds\.\n$/
  })
  t.match(await keyturn(['migrate'], env), { code: 0, out: /^(Applied .*\n)+$/ })
  t.match(await keyturn(['check-config'], env), { code: 0, out: /up to date\.\nSessions: Redis responds\.\n$/ })
  t.match(await keyturn(['users', 'create', 'ann'], env, password), { code: 0 })
  t.match(await list(env), [{ username: 'ann' }])

  const db = openPostgres(DATABASE_URL)
  t.teardown(() => db.close())
  await db.query(
    `INSERT INTO keyturn_users (id, username, password_hash, is_active, created_at)
     SELECT 'id' || n, 'user' || n, '!', 1, 0 FROM generate_series(1, 1200) AS n`
  )
  t.equal(new Set((await list(env)).map((user) => user.id)).size, 1201, 'more than a page')
  t.notOk(existsSync(env.DATA_DIR))
})

t.test('check-config and doctor report a PostgreSQL that cannot be used', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t)
  const address = await server.createDatabase()
  const db = openPostgres(address)
  t.teardown(() => db.close())
  const { role, url } = await createRole(t, address)
  const own = {
    DATABASE_URL: url,
    KEY_ENCRYPTION_SECRET: 'x'.repeat(32),
    DATA_DIR: join(t.testdir(), 'none')
  }
  const django = { ...own, USERS_TABLE: 'auth_user' }
  t.match(await keyturn(['migrate'], { ...own, DATABASE_URL: address }), { code: 0 })
  await db.query('CREATE TABLE auth_user (id int, username text, password text)')
  await db.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}`)

  const report = async (expected: { readonly code: number; readonly out: RegExp }, ...environments: Environment[]) => {
    for (const env of environments)
      for (const command of ['check-config', 'doctor']) t.match(await keyturn([command], env), expected, command)
  }
  await report({ code: 0, out: /tables are up to date|own tables exist/ }, own, django)

  await db.query(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
  await report({ code: 1, out: /PostgreSQL.* cannot be written\. It is read-only for this user/ }, own, django)
  await db.query(`ALTER ROLE ${role} RESET default_transaction_read_only`)

  await db.query('ALTER TABLE auth_user ENABLE ROW LEVEL SECURITY')
  await report({ code: 1, out: new RegExp(`Run: CREATE POLICY keyturn ON "auth_user" TO ${role} `) }, django)
  await db.query('ALTER TABLE auth_user DISABLE ROW LEVEL SECURITY')

  await db.query('REVOKE USAGE ON SCHEMA public FROM public')
  const grant = new RegExp(`GRANT USAGE ON SCHEMA public TO ${role}`)
  await report({ code: 1, out: grant }, own)

  await db.query(`ALTER ROLE ${role} SET search_path = typo`)
  const missing = new RegExp(`The schema typo does not exist\\. .* CREATE SCHEMA typo AUTHORIZATION ${role}`)
  await report({ code: 1, out: missing }, own, django)
})

t.test('commands on users of Django', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t)
  const DATABASE_URL = await server.createDatabase()
  const db = openPostgres(DATABASE_URL)
  t.teardown(() => db.close())
  const env = {
    DATABASE_URL,
    USERS_TABLE: 'auth_user',
    KEY_ENCRYPTION_SECRET: 'x'.repeat(32),
    DATA_DIR: join(t.testdir(), 'data')
  }
  t.match(await keyturn(['migrate'], env), { code: 0 })
  await db.exclusively(({ script }) =>
    script(`CREATE TABLE auth_user (id bigint PRIMARY KEY, username text, password text, is_active boolean);
      INSERT INTO auth_user VALUES (9223372036854775807, 'user\u00b2', '!', true), (-3, 'Jose\u0301', '!', true)`)
  )
  for (const name of ['user\u00b2', 'Jose\u0301']) {
    t.match(await keyturn(['users', 'set-password', name], env, password), { code: 0 })
    t.match(await keyturn(['users', 'deactivate', name], env), { code: 0 })
  }
  const look = () => db.query('SELECT password, is_active FROM auth_user')
  const changed = await look()
  for (const row of changed) t.match(row, { password: /^pbkdf2_sha256\$/, is_active: false })

  await db.exclusively(({ script }) =>
    script(`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER keep BEFORE UPDATE ON auth_user FOR EACH ROW EXECUTE FUNCTION keep()`)
  )
  for (const command of ['set-password', 'activate', 'deactivate'])
    isRefused(t, await keyturn(['users', command, 'user\u00b2'], env, password), /^Nothing was changed: .*user\u00b2/)
  t.same(await look(), changed)
  t.equal((await db.query("SELECT 1 FROM keyturn_audit WHERE event = 'user_activate'")).length, 0)
})

t.test('passwords calibrate prints settings', async (t) => {
  const args = ['passwords', 'calibrate', '--target', '20ms', '--memory', '16384']
  const lines = await keyturn(args)
  t.equal(lines.code, 0)
  const [memory, time, parallelism] = ['MEMORY', 'TIME', 'PARALLELISM'].map(
    (name) => new RegExp(`^ARGON2_${name}=(\\d+)$`, 'm').exec(lines.out)?.[1]
  )
  t.match(loadConfig({ ARGON2_MEMORY: memory, ARGON2_TIME: time, ARGON2_PARALLELISM: parallelism }), {
    argon2Memory: Number(memory),
    argon2Time: Number(time),
    argon2Parallelism: 1
  })
  t.match(lines.err, /^A hash takes \d+ ms on this machine: [\d.]+ logins per second on a core/)
  t.match(lines.err, /weaker than OWASP recommends/)

  const json = await keyturn([...args, '--json'])
  t.match(JSON.parse(json.out), { argon2_parallelism: 1, ms: Number, logins_per_second_per_core: Number })
  for (const wrong of [
    ['--target', '250'],
    ['--target', '9ms'],
    ['--target', '11s'],
    ['--memory', '1024']
  ]) {
    t.match(
      await keyturn(['passwords', 'calibrate', ...wrong]),
      { code: 2, err: /is invalid\. It must be a/ },
      wrong[1] ?? ''
    )
  }
})

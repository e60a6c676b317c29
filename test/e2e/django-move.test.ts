/*
 * A team moves from Django with Simple JWT: a real Django project and Keyturn on one PostgreSQL database, with one secret.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { until } from '../support/arbiter.ts'
import { findPython, fixture, startDjangoProject } from '../support/django.ts'
import { freePort } from '../support/engines.ts'
import { decodePart } from '../support/forger.ts'
import { aDataDir, post, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, withoutDjango, withoutPostgres } from '../support/needs.ts'
import { fillIn } from '../support/recipes.ts'
import { openShell } from '../support/shell.ts'

const password = 'correct horse battery'

t.test('the move logs no user out', { skip: withoutDjango() || withoutPostgres(), timeout: 110_000 }, async (t) => {
  const postgres = await needsPostgres(t, { tcp: true })
  const database = await postgres.createDatabase()
  const secret = randomBytes(32).toString('hex')
  const django = await startDjangoProject(t, database, secret)
  const act = async (verb: string, username: string, password?: string) =>
    (await post(`${django}/do/`, { verb, username, password })).body as Record<string, unknown>
  const { id } = await act('create', 'vitor', password)
  await act('create', 'ana', password)

  const env = {
    DATABASE_URL: database,
    SIGNING_KEY: secret,
    USERS_TABLE: 'auth_user',
    ADOPT_REFRESH_TOKENS: 'on',
    UPDATE_LAST_LOGIN: 'true',
    REFRESH_REUSE_GRACE: '2s',
    REFRESH_LATE_RETRY: '0',
    DATA_DIR: t.testdir()
  }
  const doctor = () => runKeyturn(['doctor'], env)
  t.match(await doctor(), { code: 1, stdout: /^error .*keyturn migrate$/m })
  t.equal((await runKeyturn(['migrate'], env)).code, 0)
  const login = async (username: string, service = `${keyturn.url}/api`) =>
    await post(`${service}/token/`, { username, password })
  const keyturn = await startKeyturn(t, env)
  const refresh = (token = '') => post(`${keyturn.url}/api/token/refresh/`, { refresh: token })
  const verify = (token = '') => post(`${keyturn.url}/api/token/verify/`, { token })
  const whoami = async (token = '') =>
    (
      (await (await fetch(`${django}/whoami/`, { headers: { authorization: `Bearer ${token}` } })).json()) as {
        username?: string
      }
    ).username

  // Before the move: Django hands out tokens.
  const old = await login('vitor', django)
  const used = await login('vitor', django)
  const loggedOut = await login('vitor', django)
  t.equal((await post(`${django}/token/blacklist/`, { refresh: loggedOut.body.refresh ?? '' })).status, 200)
  const seen = await doctor()
  t.match(seen, { code: 0, stdout: /^ok {5}auth_user has 2 users, 0 of them inactive\.$/m })
  t.match(seen.stdout, /^ok {5}2 passwords are pbkdf2_sha256, which Keyturn verifies\.$/m)
  t.match(seen.stdout, /^ok {5}SIGNING_KEY is Django’s signing key: 2 refresh tokens/m)
  const stranger = await runKeyturn(['doctor'], { ...env, SIGNING_KEY: randomBytes(32).toString('hex') })
  t.match(stranger, { code: 1, stdout: /^error {2}Django’s newest refresh token does not verify with SIGNING_KEY/m })

  // Its tokens go on working.
  t.strictSame(await verify(old.body.access), { status: 200, body: {} }, 'an access token of Django')
  const adopted = await Promise.all(Array.from({ length: 20 }, () => refresh(old.body.refresh)))
  t.same([...new Set(adopted.map(({ status }) => status))], [200], 'a refresh token, by twenty at once')
  t.equal(new Set(adopted.map(({ body }) => body.refresh)).size, 1, 'one session')
  const sessions = await runKeyturn(['sessions', 'list', 'vitor', '--json'], env)
  t.equal(sessions.stdout.trim().split('\n').length, 1)
  t.equal(await whoami(adopted[0]?.body.access), 'vitor', 'Django takes what it is exchanged for')
  t.match(await refresh(loggedOut.body.refresh), { status: 401, body: { detail: 'Token is blacklisted' } }, 'by Django')
  t.equal((await verify(loggedOut.body.refresh)).status, 400)
  await sleep(3100)
  t.match(
    await refresh(old.body.refresh),
    { status: 401, body: { detail: 'Token is blacklisted' } },
    'once and only once'
  )

  // Its users log in, with the passwords they have.
  const first = await login('vitor')
  t.equal(first.status, 200)
  const claims = JSON.parse(Buffer.from(first.body.access?.split('.')[1] ?? '', 'base64url').toString())
  t.equal(claims.user_id, String(id))
  t.equal(await whoami(first.body.access), 'vitor')
  const state = await act('look', 'vitor', password)
  t.match(state, { check_password: true, password: /^pbkdf2_sha256\$/ }, 'a digest that Django can read')
  t.ok(Math.abs(Number(state.last_login) - Date.now() / 1000) < 60, 'last_login, as Django writes it')
  const wrong = await post(`${keyturn.url}/api/token/`, { username: 'vitor', password: 'wrong' })
  t.match(wrong, { status: 401, body: { detail: 'No active account found with the given credentials' } })

  // What Django does to a user counts at the next refresh.
  await act('set_password', 'vitor', 'another password')
  t.match(await refresh(first.body.refresh), { status: 401, body: { detail: "The user's password has been changed." } })
  await until(async () => (await verify(first.body.access)).status !== 200, 'the access token is refused')
  t.match(
    await verify(first.body.access),
    { status: 401, body: { detail: 'Token is blacklisted' } },
    'the session is over'
  )
  const ana = await login('ana')
  t.equal(ana.status, 200)
  await act('deactivate', 'ana')
  t.match(await refresh(ana.body.refresh), { status: 401, body: { detail: /^No active account/ } })
  t.equal((await login('ana')).status, 401)
  await act('delete', 'vitor')
  t.match(await refresh(used.body.refresh), { status: 401, body: { detail: /^No active account/ } })

  // And back again: what Keyturn handed out works in Django.
  await act('create', 'rui', password)
  const back = await post(`${django}/token/refresh/`, { refresh: (await login('rui')).body.refresh ?? '' })
  t.equal(back.status, 200)
  t.equal(await whoami(back.body.access), 'rui')
  t.equal(await keyturn.stop(), 0)
})

const aPrivateKey = (): string =>
  generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** A code block of the guide. */
interface Block {
  readonly language: string
  readonly text: string
}

const blocksOf = (text: string): readonly Block[] =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({ language, text }))

/** The blocks of each step of docs/from-simple-jwt.md, from 1 on, and those of its section about moving the users, as 0. */
function readGuide(): readonly (readonly Block[])[] {
  const page = readFileSync(new URL('../../../docs/from-simple-jwt.md', import.meta.url), 'utf8')
  const section = (title: string): string => page.split(/^## /m).find((each) => each.startsWith(`${title}\n`)) ?? ''
  const steps = section('Migration, step by step').split(/^\*\*\d\. /m)
  return [section('Moving the users'), ...steps.slice(1)].map(blocksOf)
}

/** The file that a block of Python begins with a comment, up to the next one. */
const pythonFile = (block: string, name: string): string =>
  new RegExp(`^# (?:\\w+/)*${name}\\n([\\s\\S]*?)(?=^# |$(?![\\s\\S]))`, 'm').exec(block)?.[1] ?? ''

/** Puts what the guide adds to a Django project into a folder. */
function addToProject(folder: string, block: string, change = (settings: string): string => settings): void {
  mkdirSync(join(folder, 'shop'), { recursive: true })
  writeFileSync(join(folder, 'shop', 'tokens.py'), pythonFile(block, 'tokens.py'))
  writeFileSync(join(folder, 'settings.py'), change(pythonFile(block, 'settings.py')))
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
const withoutNumbers = (text: string): string => text.replace(/\d+/g, 'N')

for (const algorithm of ['HS256', 'RS256'] as const) {
  const skip = withoutDjango() || withoutPostgres()
  t.test(`the guide, step by step and word by word, with ${algorithm}`, { skip, timeout: 900_000 }, async (t) => {
    const postgres = await needsPostgres(t, { tcp: true })
    const DATABASE_URL = await postgres.createDatabase()
    const db = openPostgres(DATABASE_URL)
    t.teardown(() => db.close())
    const key = algorithm === 'HS256' ? randomBytes(32).toString('hex') : aPrivateKey()
    const shell = openShell(
      t,
      {
        DATA_DIR: aDataDir(t),
        // The JWKS has one address before and after a restart.
        PORT: String(await freePort()),
        ...(algorithm === 'RS256' ? { ALGORITHM: algorithm } : {})
      },
      { python: [findPython()] }
    )
    symlinkSync(fixture('manage.py'), join(shell.folder, 'manage.py'))
    const guide = readGuide()
    t.same(
      guide.map((blocks) => blocks.map(({ language }) => language)),
      [['sh', 'sh'], ['sh', ''], ['sh'], ['sh'], ['sh'], ['python', 'sh'], []],
      'every block is run below'
    )
    const block = (step: number, language = 'sh', index = 0): string =>
      guide[step]?.filter((each) => each.language === language)[index]?.text ?? ''

    const django = await startDjangoProject(t, DATABASE_URL, key)
    const act = (verb: string, username: string, password?: string) =>
      post(`${django}/do/`, { verb, username, password })
    for (const name of ['vitor', 'ana']) await act('create', name, password)
    await act('create', 'without-password')
    await act('deactivate', 'ana')
    const logInAt = async (service: string) => (await post(`${service}/token/`, { username: 'vitor', password })).body
    const theirs = [await logInAt(django), await logInAt(django), await logInAt(django), await logInAt(django)] as const
    const blacklisted = await logInAt(django)
    t.equal((await post(`${django}/token/blacklist/`, { refresh: blacklisted.refresh })).status, 200)
    const tables = async () =>
      (await db.query<{ name: string }>("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"))
        .map(({ name }) => name)
        .filter((name) => !name.startsWith('keyturn_'))
        .toSorted()
    const tablesBefore = await tables()
    const statusAt = async (service: string, access = '') =>
      (await fetch(service, { headers: { authorization: `Bearer ${access}` } })).status

    // 1. Check.
    const checked = await shell.run(fillIn(block(1), { 'postgres://…': DATABASE_URL, "'…'": `'${key}'` }))
    t.equal(withoutNumbers(checked.stdout), withoutNumbers(block(1, '')), 'doctor reports what the guide shows')
    t.match(checked, { code: 1, stderr: '1 problem has to be fixed.\n' })
    t.equal((await db.query("SELECT 1 FROM pg_tables WHERE tablename LIKE 'keyturn%'")).length, 0, 'it writes nothing')

    // 2. Turn on adoption.
    const risky = await shell.run(block(2))
    t.match(
      risky.stdout,
      /^note .* adopted without a time limit .*: anyone who has the key .* can log in as any user\.$/m
    )
    t.match(risky.stdout, /^ok .* 4 refresh tokens stay valid, each for one refresh\.$/m)

    // 3. Start Keyturn beside Django.
    const [migrate = '', serve = ''] = block(3).split('\n')
    t.equal((await shell.run(migrate)).code, 0)
    t.same(await tables(), tablesBefore, 'only tables of its own')
    const start = () => startKeyturn(t, shell.env, { command: ['sh', '-c', `exec ${serve}`], cwd: shell.folder })
    let keyturn = await start()
    const restart = async (): Promise<void> => {
      t.equal(await keyturn.stop(), 0)
      keyturn = await start()
    }
    const refresh = (token = '') => post(`${keyturn.url}/api/token/refresh/`, { refresh: token })
    t.match(await shell.run('node dist/src/cli/main.js doctor'), { code: 0, stdout: /^ok .*tables exist/ })
    const adopted = await refresh(theirs[0].refresh)
    t.equal(adopted.status, 200)
    t.equal(await statusAt(`${django}/whoami/`, adopted.body.access), 200, 'Django accepts what it is exchanged for')
    t.equal(
      await statusAt(`${keyturn.url}/api/sessions/`, theirs[0].access),
      200,
      'and Keyturn an access token of Django'
    )
    t.match(await refresh(blacklisted.refresh), { status: 401, body: { detail: 'Token is blacklisted' } })
    const ours = await logInAt(`${keyturn.url}/api`)
    const idle = await logInAt(`${keyturn.url}/api`)
    t.equal(await statusAt(`${django}/whoami/`, ours.access), 200)

    // 4. Switch the clients: adoption gets its end.
    const endAdoption = (day: string) => shell.run(fillIn(block(4), { '2026-12-31': day }))
    const today = dayOf(Date.now())
    const ending = await endAdoption(today)
    t.equal(ending.code, 0)
    t.match(ending.stderr, new RegExp(`adopted if issued until ${today}T23:59:59Z .* can log in as any user\\.$`, 'm'))
    await restart()
    t.equal((await refresh(theirs[1].refresh)).status, 200, 'a token of Django from before')

    // 5. Keys of Keyturn's own: first, each Django service accepts both kinds.
    const added = fillIn(block(5, 'python'), { 'https://auth.example.com': keyturn.url })
    const [both, one] = [join(shell.folder, 'both'), join(shell.folder, 'one')]
    addToProject(both, added)
    const shop = await startDjangoProject(t, DATABASE_URL, key, both)
    for (const { access } of [ours, theirs[0]]) t.equal(await statusAt(`${shop}/whoami/`, access), 200, 'before')
    const own = await shell.run(block(5))
    t.equal(own.code, 0, own.stderr)
    await restart()
    const signed = await refresh(ours.refresh)
    for (const { status, body } of [signed, await refresh(theirs[2].refresh)]) {
      t.equal(status, 200, 'no user has to log in again')
      t.match(decodePart(body.access ?? '', 0), { alg: 'ES256' })
      t.equal(await statusAt(`${shop}/whoami/`, body.access), 200, 'an access token of the new key')
    }
    t.equal(await statusAt(`${shop}/whoami/`, ours.access), 200, 'one of the previous key')
    t.equal(await statusAt(`${shop}/whoami/`, `${signed.body.access}x`), 401)

    // After ACCESS_TOKEN_LIFETIME.
    addToProject(one, added, (settings) =>
      fillIn(settings, { '    "rest_framework_simplejwt.tokens.AccessToken",\n': '' })
    )
    const later = await startDjangoProject(t, DATABASE_URL, key, one)
    t.equal(await statusAt(`${later}/whoami/`, signed.body.access), 200)
    t.equal(await statusAt(`${later}/whoami/`, ours.access), 401, 'the key can no longer issue tokens')

    // The day of step 4 is more than REFRESH_TOKEN_LIFETIME ago.
    const ended = await endAdoption(dayOf(Date.now() - 3 * 86_400_000))
    t.match(ended.stdout, /no longer adopted since .*: unset ADOPT_REFRESH_TOKENS\.$/m)
    await restart()
    t.match(await refresh(theirs[3].refresh), { status: 401, body: { detail: 'Token is invalid' } })
    let last = await refresh(signed.body.refresh)
    t.equal(last.status, 200, 'sessions go on')
    await shell.run('unset ADOPT_REFRESH_TOKENS SIGNING_KEY_PREVIOUS ALGORITHM_PREVIOUS')
    await restart()
    t.match(await refresh(theirs[3].refresh), { status: 401 })
    t.equal(
      (await refresh(idle.refresh)).status,
      algorithm === 'HS256' ? 401 : 200,
      'a user who has not refreshed since'
    )
    last = await refresh(last.body.refresh)
    t.equal(last.status, 200)

    // 6. Move the users.
    const tried = await shell.run(block(0))
    t.equal(tried.code, 0, tried.stderr)
    t.match(await shell.run(block(0, 'sh', 1)), { code: 0 }, 'the import can be repeated')
    await shell.run('unset USERS_TABLE')
    await restart()
    last = await refresh(last.body.refresh)
    t.equal(last.status, 200, 'sessions outlive the move')
    const again = await logInAt(`${keyturn.url}/api`)
    for (const access of [last.body.access, again.access])
      t.equal(decodePart(access ?? '', 1).user_id, decodePart(ours.access ?? '', 1).user_id, 'the same user')
    t.equal(await keyturn.stop(), 0)
  })
}

/*
 * `users import` and `users export` as processes, over one SQL engine: whole dumps, broken ones, and a kill half-way.
 */
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { openEmbedded } from '../../src/stores/embedded/engine.ts'
import type { SqlDatabase } from '../../src/stores/sql/connection.ts'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { makeUserImport } from '../../src/stores/sql/user-import.ts'
import { makeUserStore } from '../../src/stores/sql/users.ts'
import { systemClock } from '../../src/time.ts'
import { importBatch } from '../../src/users/store.ts'
import { until } from '../support/arbiter.ts'
import { aDigest, aDjangoUser, aDump } from '../support/dump.ts'
import { decodePart } from '../support/forger.ts'
import { aDataDir, type Finished, post, runKeyturn, spawnKeyturn, startKeyturn } from '../support/keyturn.ts'

/** Two batches and a bit. */
const count = 2 * importBatch + 10

type Environment = Record<string, string>

/** The database of a Keyturn, as the test sees it. */
function openDatabase(t: Test, env: Environment): SqlDatabase {
  const db = env.DATABASE_URL === undefined ? openEmbedded(env.DATA_DIR ?? '') : openPostgres(env.DATABASE_URL)
  t.teardown(() => db.close())
  return db
}

async function countUsers(db: SqlDatabase): Promise<number> {
  const [row] = await db.query<{ count: number }>('SELECT COUNT(*) AS count FROM keyturn_users')
  return row?.count ?? 0
}

function aFile(t: Test, text: string | Buffer): string {
  const path = join(aDataDir(t), 'users')
  writeFileSync(path, text)
  return path
}

/** `1234` as the command writes it. */
const number = (value: number): string => value.toLocaleString('en')

const users = (env: Environment, ...args: readonly string[]): Promise<Finished> => runKeyturn(['users', ...args], env)

/** `aStore` gives the settings of a Keyturn whose stores are empty. */
export async function usersImportSuite(t: Test, aStore: (t: Test) => Promise<Environment>): Promise<void> {
  const openEmpty = async (t: Test) => {
    const env = await aStore(t)
    t.equal((await runKeyturn(['migrate'], env)).code, 0)
    return { env, db: openDatabase(t, env) }
  }

  await t.test('a dump of Django goes in, and again changes nothing', async (t) => {
    const { env, db } = await openEmpty(t)
    const dump = aFile(t, aDump(count))
    const trial = await users(env, 'import', dump, '--dry-run')
    t.match(trial, { code: 0, stderr: `, a dry run: ${number(count)} would be created, 0 skipped, 0 refused.\n` })
    t.equal(await countUsers(db), 0, 'a dry run writes nothing')
    const first = await users(env, 'import', dump)
    t.match(first, { code: 0, stdout: '', stderr: `${dump}: ${number(count)} created, 0 skipped, 0 refused.\n` })
    t.equal(await countUsers(db), count)
    const { fields } = aDjangoUser(count)
    t.same(await makeUserStore(db, systemClock).findById(`${count}`), {
      id: `${count}`,
      username: fields.username,
      passwordHash: fields.password,
      isActive: true,
      createdAt: Date.parse('2023-05-04T12:34:56Z') / 1000,
      lastLoginAt: undefined,
      claims: {}
    })
    t.match((await users(env, 'import', dump)).stderr, `: 0 created, ${number(count)} skipped, 0 refused.`)
    t.equal(await countUsers(db), count)
  })

  await t.test('what is exported is imported as it was', async (t) => {
    const { env } = await openEmpty(t)
    const odd = [
      aDjangoUser(1, { username: 'o"hara, \u{1f511};', is_active: false, last_login: '2024-01-31T00:00:00Z' }),
      aDjangoUser('k-2', { username: "'an\u2028n'", password: '' }),
      aDjangoUser(3, { email: 'line\nfeed, "x"' })
    ]
    const dump = JSON.stringify([...JSON.parse(aDump(600)).slice(3), ...odd])
    t.match(await runKeyturn(['users', 'import', '-', '--claim', 'email'], env, dump), { code: 0 })
    const exports: string[] = []
    for (const format of ['ndjson', 'csv']) {
      const { code, stdout, stderr } = await users(env, 'export', '--format', format)
      t.equal(code, 0)
      t.match(stderr, /^This export contains password digests.*\n$/, 'one line of warning')
      t.equal(stdout.trimEnd().split(/\n(?!feed)/).length, format === 'csv' ? 601 : 600)
      const other = (await openEmpty(t)).env
      t.match(await runKeyturn(['users', 'import', '-'], other, stdout), { code: 0, stderr: /: 600 created, / })
      t.equal((await users(other, 'export', '--format', format)).stdout, stdout, format)
      exports.push((await users(other, 'export')).stdout)
    }
    t.equal(exports[0], exports[1], 'by either way')
    t.match(exports[0], '{"id":"k-2","username":"\'an\u2028n\'","password_hash":"","is_active":true,')
    t.match(exports[0], /"claims":\{"email":"line\\nfeed, \\"x\\""\}\}\n/)
  })

  await t.test('killed half-way and run again, no user is lost or imported twice', async (t) => {
    const { env, db } = await openEmpty(t)
    const dump = aDump(count)
    const child = spawnKeyturn(['users', 'import', '-'], env)
    const closed = once(child, 'close')
    // More than a batch, and the rest never comes.
    child.stdin.write(dump.slice(0, Math.ceil(dump.length * 0.8)))
    await until(async () => (await countUsers(db)) >= importBatch, 'a batch is in')
    child.kill('SIGKILL')
    t.same(await closed, [null, 'SIGKILL'])
    const before = await countUsers(db)
    t.equal(before % importBatch, 0, `${before} users are in: whole batches`)
    t.ok(before < count)
    const again = await users(env, 'import', aFile(t, dump))
    t.match(again, { code: 0, stderr: `: ${number(count - before)} created, ${number(before)} skipped, 0 refused.` })
    t.equal(await countUsers(db), count)
    const [row] = await db.query<{ ids: number; names: number }>(
      'SELECT COUNT(DISTINCT id) AS ids, COUNT(DISTINCT username) AS names FROM keyturn_users'
    )
    t.same(row, { ids: count, names: count })
  })

  await t.test('stopped by Ctrl-C, what was read is in, and nothing is left lying about', async (t) => {
    const { env, db } = await openEmpty(t)
    const temporary = aDataDir(t)
    const dump = aDump(count)
    const stopped = async (...options: string[]) => {
      const child = spawnKeyturn(['users', 'import', '-', ...options], { ...env, TMPDIR: temporary })
      let output = ''
      child.stderr.setEncoding('utf8').on('data', (text) => {
        output += text
      })
      const closed = once(child, 'close')
      child.stdin.write(dump.slice(0, dump.lastIndexOf('{"model"')))
      const isUnderWay = async () =>
        options.length > 0 ? readdirSync(temporary).length > 0 : (await countUsers(db)) >= importBatch
      await until(isUnderWay, 'the import is under way')
      child.kill('SIGINT')
      t.same(await closed, [1, null])
      t.match(output, /(^|\n)Standard input: reading was interrupted\.\n$/)
      return output
    }
    t.notMatch(await stopped('--dry-run'), 'Run the same command again')
    t.equal(await countUsers(db), 0)
    const output = await stopped()
    t.match(
      output,
      `Standard input: ${number(await countUsers(db))} created, 0 skipped, 0 refused.\nRun the same command again`
    )
    t.same(readdirSync(temporary), [])
  })

  await t.test('two at once share the work', async (t) => {
    const { env, db } = await openEmpty(t)
    const dump = aFile(t, aDump(count))
    const both = await Promise.all([users(env, 'import', dump), users(env, 'import', dump)])
    const created = both.map(({ stderr }) => Number(/: ([\d,]+) created/.exec(stderr)?.[1]?.replaceAll(',', '')))
    t.same(
      both.map(({ code }) => code),
      [0, 0]
    )
    t.equal((created[0] ?? 0) + (created[1] ?? 0), count)
    t.equal(await countUsers(db), count)
  })

  await t.test('a dump that breaks off is taken in up to there', async (t) => {
    const { env, db } = await openEmpty(t)
    const dump = aDump(count)
    const broken = await users(env, 'import', aFile(t, dump.slice(0, -10)))
    t.match(broken, { code: 1, stdout: '' })
    const [counts, advice, why, ...others] = broken.stderr.trimEnd().split('\n')
    t.match(counts, `: ${number(count - 1)} created, 0 skipped, 0 refused.`)
    const byte = Buffer.byteLength(dump.slice(0, dump.lastIndexOf('{"model"'))) + 1
    t.match(why, `: Invalid at byte ${byte}, line 1: the object that begins there does not end.`)
    t.match(advice, /^Run the same command again/)
    t.same(others, [])
    t.equal(await countUsers(db), count - 1)
    t.match((await users(env, 'import', aFile(t, dump))).stderr, `: 1 created, ${number(count - 1)} skipped`)
  })

  await t.test(
    'import --update: overwrites, and ends the sessions of users who are inactive or have another digest',
    async (t) => {
      const { env, db } = await openEmpty(t)
      const dump = (changes: object) =>
        JSON.stringify([aDjangoUser(7, { username: 'ann', ...changes }), aDjangoUser(8)])
      const run = (changes: object, ...options: string[]) =>
        runKeyturn(['users', 'import', '-', ...options], env, dump(changes))
      t.match(await run({}), { code: 0, stderr: /: 2 created/ })

      const keyturn = await startKeyturn(t, env)
      const login = () => post(`${keyturn.url}/api/token/`, { username: 'ann', password: 'correct horse' })
      const { status, body } = await login()
      t.equal(status, 200, 'who was imported logs in by the digest of Django')
      t.match(decodePart(body.access ?? '', 1), { user_id: '7' }, 'and is known by the id of the dump')

      t.match(await run({ is_active: false }), { code: 0, stderr: /: 0 created, 2 skipped/ })
      t.equal((await login()).status, 200, 'it is as it was')
      t.match(await run({ is_active: false }, '--update', '--dry-run'), {
        code: 0,
        stderr: /: 0 would be created, 2 would be updated/
      })
      t.equal((await login()).status, 200)
      t.match(await run({ is_active: false }, '--update'), {
        code: 0,
        stderr: /: 0 created, 2 updated, 0 skipped, 0 refused/
      })
      t.equal((await login()).status, 401)
      t.match(await run({ is_active: true }, '--update'), { code: 0, stderr: /: 0 created, 2 updated/ })
      const kept = await login()
      t.equal(kept.status, 200)
      t.match(await run({ is_active: true, password: `md5$salt$${'0'.repeat(32)}` }, '--update'), { code: 0 })
      const refused = await post(`${keyturn.url}/api/token/refresh/`, { refresh: kept.body.refresh })
      t.equal(refused.status, 401, 'its password may be another one')
      const sessions = await runKeyturn(['sessions', 'list', 'ann', '--json'], env)
      t.match(sessions, { code: 0, stdout: '' }, 'no session is left')
      t.equal(await countUsers(db), 2)
      t.equal(await keyturn.stop(), 0)
    }
  )

  await t.test('import --update: killed before it has ended the sessions, and run again, it ends them', async (t) => {
    const { env, db } = await openEmpty(t)
    const dump = (password: string) => JSON.stringify([aDjangoUser(7, { username: 'ann', password })])
    const run = (password: string) => runKeyturn(['users', 'import', '-', '--update'], env, dump(password))
    t.match(await run(aDigest), { code: 0, stderr: /: 1 created/ })
    const keyturn = await startKeyturn(t, env)
    const { body } = await post(`${keyturn.url}/api/token/`, { username: 'ann', password: 'correct horse' })
    // What a process leaves that is killed once it has written the users.
    const passwordHash = `md5$salt$${'0'.repeat(32)}`
    const none = { isActive: undefined, createdAt: undefined, lastLoginAt: undefined, claims: undefined }
    const store = makeUserImport(db, systemClock)
    t.match(await store.place([{ id: '7', username: 'ann', passwordHash, ...none }], { update: true }), [
      { kind: 'updated' }
    ])
    t.match(await run(passwordHash), { code: 0, stderr: /: 0 created, 1 updated/ })
    t.equal((await post(`${keyturn.url}/api/token/refresh/`, { refresh: body.refresh })).status, 401)
    t.equal(await keyturn.stop(), 0)
  })
}

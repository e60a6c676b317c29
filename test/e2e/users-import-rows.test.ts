/* `users import`: Django's dumps, refused rows, files that are not dumps, and the messages. */
import { once } from 'node:events'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { aDigest, aDjangoUser, aDump } from '../support/dump.ts'
import { dumpDjango } from '../support/django.ts'
import { aDataDir, type Finished, main, runKeyturn, spawnKeyturn, testSettings } from '../support/keyturn.ts'
import { withoutDjango } from '../support/needs.ts'
import { onTerminal, withoutTerminal } from '../support/terminal.ts'

/** `users import` of standard input into an empty store, and what is in it afterwards. */
async function importInto(t: Test, input: string | Buffer, ...options: readonly string[]) {
  const env = { DATA_DIR: aDataDir(t) }
  const run = await runKeyturn(['users', 'import', '-', ...options], env, input)
  const { stdout } = await runKeyturn(['users', 'export'], env)
  const users: Record<string, unknown>[] = stdout === '' ? [] : parseLines(stdout)
  return { run, users }
}

const parseLines = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

const lines = (...rows: readonly unknown[]): string =>
  rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n')

t.test('what Django itself dumps', { skip: withoutDjango(), timeout: 120_000 }, async (t) => {
  for (const format of ['json', 'jsonl'] as const) {
    const { run, users } = await importInto(t, dumpDjango(format), '--claim', 'is_staff')
    t.equal(run.code, 0, run.stderr)
    t.match(run.stderr, /^Standard input: (\d+) created, 0 skipped, 0 refused\.$/m)
    t.equal(users.length, Number(/: (\d+) created/.exec(run.stderr)?.[1]))
    t.match(run.stderr, /^Users who need a new password before they can log in: no password \(2\)\.$/m)
    t.match(run.stderr, /^Entries of other models were ignored: auth\.permission \(\d+\), auth\.group \(1\)\.$/m)
    const byName = new Map(users.map((user) => [user.username, user]))
    t.match(byName.get('pbkdf2_sha256'), {
      id: '1',
      password_hash: /^pbkdf2_sha256\$\d+\$/,
      is_active: true,
      created_at: /^20\d\d-/,
      last_login_at: null,
      claims: { is_staff: false }
    })
    t.match(byName.get('nobody'), { password_hash: /^!/, is_active: false })
    t.match(byName.get('Ann'), { last_login_at: /^20\d\d-/, claims: { is_staff: true } }, 'after NFKC')
  }
})

t.test('each refused row is reported, and the others are imported', async (t) => {
  const report = join(aDataDir(t), 'report')
  const rows: readonly (readonly [row: unknown, noted: object | undefined])[] = [
    [aDjangoUser(1), undefined],
    [aDjangoUser(1), undefined],
    [
      aDjangoUser(2, { username: 'user1' }),
      { id: '2', username: 'user1', reason: 'the username is taken by the user whose id is 1' }
    ],
    ['{"model": "auth.user", "pk": 3, "fields": {"password": "hunter2"', { reason: 'is not JSON' }],
    ['[]', { reason: 'is not an object' }],
    ['', undefined],
    [aDjangoUser(null), { reason: /^has no pk/ }],
    [
      aDjangoUser(4, { username: 'a\nb', is_active: 'maybe' }),
      { id: '4', reason: /^username cannot be used: .*; is_active is neither/ }
    ],
    [aDjangoUser(5, { password: 'hunter2' }), { id: '5', username: 'user5', reason: /^password is not a digest/ }],
    [
      '{"model": "auth.user", "pk": 9007199254740993, "fields": {"username": "big", "password": "!"}}',
      { username: 'big', reason: /^id is not an integer/ }
    ],
    [{ ...aDjangoUser(6), model: 'auth.group' }, undefined],
    [
      aDjangoUser(7, { password: 'crypt$$oVVPEguINYdVw' }),
      { outcome: 'cannot log in', id: '7', username: 'user7', reason: 'crypt is not supported' }
    ],
    [aDjangoUser(8, { password: '!' }), { outcome: 'cannot log in', id: '8', reason: 'no password' }],
    [{ username: 'without-id', password_hash: aDigest }, undefined]
  ]
  const input = lines(...rows.map(([row]) => row))
  const { run, users } = await importInto(t, input, '--report', report)
  t.match(run, { code: 1, stdout: '' })
  t.same(
    users.map(({ username }) => username),
    ['user1', 'user7', 'user8', 'without-id']
  )

  const wanted = rows.flatMap(([, noted], index) =>
    noted === undefined ? [] : [{ line: index + 1, outcome: 'refused', ...noted }]
  )
  const noted: { line: number; row: number }[] = parseLines(readFileSync(report, 'utf8'))
  t.match(
    noted.toSorted((a, b) => a.line - b.line),
    wanted
  )
  t.equal(noted.length, wanted.length)
  t.match(
    noted.find(({ line }) => line === 7),
    { row: 6 },
    'an empty line is not a row'
  )
  t.equal(statSync(report).mode & 0o777, 0o600)

  const reported = run.stderr.trimEnd().split('\n')
  t.equal(reported.shift(), 'Standard input: 4 created, 1 skipped, 7 refused.')
  t.match(reported[0], /^Row \d+, line \d+.*: .*\.$/)
  t.match(run.stderr, 'Row 3, line 3, "user1": the username is taken by the user whose id is 1.\n')
  t.match(
    run.stderr,
    'Users who need a new password before they can log in: crypt is not supported (1), no password (1).\n'
  )
  t.match(run.stderr, 'Entries of other models were ignored: auth.group (1).\n')
  t.match(reported.at(-1), /^Some rows were refused\. /)
  t.notMatch(run.stderr + readFileSync(report, 'utf8'), /hunter2|pbkdf2|oVVPEguINYdVw/, 'no password, and no digest')
})

t.test('of many refused rows some are printed, and --report has all', async (t) => {
  const report = join(aDataDir(t), 'report')
  const rows = Array.from({ length: 1200 }, (_, index) => aDjangoUser(index, { password: 'hunter2' }))
  const { run, users } = await importInto(t, JSON.stringify(rows), '--report', report)
  t.equal(run.code, 1)
  t.same(users, [])
  t.equal(run.stderr.match(/^Row \d+, line 1, "user\d+": /gm)?.length, 10)
  t.match(run.stderr, '\n1,190 more were refused; --report FILE lists all of them.\n')
  t.equal(parseLines(readFileSync(report, 'utf8')).length, 1200)
})

t.test('CSV as psql writes it', async (t) => {
  const header = 'id,password,last_login,is_superuser,username,first_name,email,is_active,date_joined'
  const rows = [
    `9007199254740993,${aDigest},,f,ann,"Ann, ""A""",ann@example.com,t,2023-05-04 12:34:56.789+00`,
    `8,${aDigest},2024-01-31 00:00:00+00,t,"ben,b",,,f,2023-05-04 12:34:56+00`,
    `9,${aDigest},,f,cat,,,t`,
    `10,hunter2,,f,dan,,,t,`
  ]
  const { run, users } = await importInto(t, `\ufeff${[header, ...rows].join('\r\n')}\r\n`)
  t.equal(run.code, 1)
  t.match(
    run.stderr,
    /: 2 created, 0 skipped, 2 refused\.\nRow 3, line 4: has 8 fields where the header has 9\.\nRow 4, line 5, "dan": password is no/
  )
  t.match(users, [
    {
      id: '9007199254740993',
      username: 'ann',
      is_active: true,
      created_at: '2023-05-04T12:34:56Z',
      last_login_at: null
    },
    { id: '8', username: 'ben,b', is_active: false, last_login_at: '2024-01-31T00:00:00Z' }
  ])
})

t.test('a model of one\u2019s own', async (t) => {
  const custom = { model: 'accounts.User', pk: 7, fields: { email: 'ann@example.com', password: aDigest, nick: 'ann' } }
  const dump = JSON.stringify([custom, aDjangoUser(8)])
  const options = ['--model', 'accounts.user', '--username-field', 'email', '--claim', 'nick', '--claim', 'none']
  const { run, users } = await importInto(t, dump, ...options)
  t.match(run, {
    code: 0,
    stderr: /: 1 created, 0 skipped, 0 refused\.\nEntries of other models were ignored: auth\.user \(1\)/
  })
  t.match(users, [{ id: '7', username: 'ann@example.com', claims: { nick: 'ann' } }])
  const wrong = await importInto(t, JSON.stringify([custom]))
  t.match(wrong.run, {
    code: 1,
    stderr: /accounts\.User \(1\)\.\nThe file has no entries of the model auth\.user: choose another with --model\.\n$/
  })
  t.same(wrong.users, [])
})

t.test('a file that is not a dump is refused', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  const refused = async (input: string | Buffer, why: RegExp, ...options: string[]) => {
    const run = await runKeyturn(['users', 'import', '-', ...options], env, input)
    t.match(run, { code: 1, stdout: '', stderr: why })
    t.notMatch(run.stderr, /\n\s+at |hunter2/)
  }
  await refused('', /^Standard input: The file is empty\.\n$/)
  await refused('[]', /The file has no users\./)
  await refused(
    '- model: auth.user\n  pk: hunter2\n',
    /not a header for users: expected JSON, or CSV with a column username/
  )
  await refused(Buffer.from('\ufeff[]', 'utf16le'), /UTF-16/)
  await refused('{"password": "hunter2"}', /Invalid at byte 1, line 1: expected an array/, '--format', 'json')
  await refused('{\n "users": [\n "hunter2"]}', /: 0 created, 0 skipped, 3 refused\.\nRow 1, line 1: is not JSON/)
})

t.test('files that cannot be used', async (t) => {
  const folder = aDataDir(t)
  const env = { DATA_DIR: join(folder, 'none') }
  const dump = join(folder, 'dump')
  writeFileSync(dump, aDump(1))
  mkdirSync(join(folder, 'folder'))
  const refused = async (args: readonly string[], why: RegExp, code = 1): Promise<Finished> => {
    const run = await runKeyturn(['users', 'import', ...args], env)
    t.match(run, { code, stdout: '', stderr: why }, args.join(' '))
    t.notMatch(run.stderr, /\n\s+at /)
    return run
  }
  await refused([join(folder, 'missing')], /^\S+missing: cannot be read \(ENOENT\)\.\n$/)
  await refused([join(folder, 'folder')], /folder: cannot be read \(EISDIR\)\.\n$/)
  await refused([dump, '--report', dump], /^The report \S+dump already exists\.\n$/)
  t.equal(readFileSync(dump, 'utf8'), aDump(1), 'the dump itself is not written over')
  await refused([dump, '--report', join(folder, 'missing', 'report')], /cannot be written \(ENOENT\)\.\n$/)
  await refused([], /missing required argument 'file'/, 2)
  await refused([dump, '--format', 'xml'], /Allowed choices are json, ndjson, csv/, 2)
  await refused([dump, '--dry'], /unknown option/, 2)
})

t.test('on a terminal it shows how far it is', { skip: withoutTerminal(), timeout: 120_000 }, async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  const dump = join(env.DATA_DIR, 'dump.json')
  writeFileSync(dump, aDump(30_000))
  const { code, out } = await onTerminal(
    [process.execPath, main, 'users', 'import', dump, '--dry-run'],
    testSettings(env)
  )
  t.equal(code, 0, out)
  t.match(out, /\r\[#*-*\] {2}\d+ % {2}[\d,]+ rows {2}[\d,]+\/s {2}\d+ s left\x1b\[K/)
  t.match(out, /\r\x1b\[K\S+dump\.json, a dry run: 30,000 would be created/, 'and the line is gone at the end')
  const piped = await runKeyturn(['users', 'import', dump, '--dry-run'], env)
  t.equal(
    piped.stderr,
    `${dump}, a dry run: 30,000 would be created, 0 skipped, 0 refused.\n`,
    'elsewhere it shows nothing'
  )
})

t.test('an export whose reader stops early is not a failure', async (t) => {
  const env = { DATA_DIR: aDataDir(t) }
  t.equal((await runKeyturn(['users', 'import', '-'], env, aDump(5000))).code, 0)
  const child = spawnKeyturn(['users', 'export'], env)
  const closed = once(child, 'close')
  await once(child.stdout, 'data')
  child.stdout.destroy()
  t.same(await closed, [0, null])
})

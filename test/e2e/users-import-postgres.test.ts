import t from 'tap'
import { openPostgres } from '../../src/stores/sql/postgres.ts'
import { aDigest } from '../support/dump.ts'
import { decodePart } from '../support/forger.ts'
import { aDataDir, post, runKeyturn, startKeyturn } from '../support/keyturn.ts'
import { needsPostgres, withoutPostgres } from '../support/needs.ts'
import { usersImportSuite } from './users-import.ts'

const secret = { KEY_ENCRYPTION_SECRET: 'x'.repeat(32) }

t.test('PostgreSQL', { skip: withoutPostgres(), timeout: 110_000 }, async (t) => {
  const server = await needsPostgres(t)
  await usersImportSuite(t, async (t) => ({
    DATA_DIR: aDataDir(t),
    DATABASE_URL: await server.createDatabase(),
    ...secret
  }))
})

t.test('out of Django\u2019s table, without a dump', { skip: withoutPostgres(), timeout: 110_000 }, async (t) => {
  const server = await needsPostgres(t)
  const env = {
    DATA_DIR: aDataDir(t),
    DATABASE_URL: await server.createDatabase(),
    USER_ID_FIELD: 'username',
    ...secret
  }
  const inDjango = { ...env, USERS_TABLE: 'auth_user' }
  const db = openPostgres(env.DATABASE_URL)
  t.teardown(() => db.close())
  await db.exclusively(({ script }) =>
    script(`CREATE TABLE auth_user (id integer PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, password varchar(128)
        NOT NULL, is_active boolean NOT NULL, date_joined timestamptz NOT NULL, last_login timestamptz);
      INSERT INTO auth_user SELECT n, 'user' || n, '${aDigest}', n <> 8, '2023-05-04T12:34:56Z', NULL
        FROM generate_series(1, 1200) AS n`)
  )
  t.equal((await runKeyturn(['migrate'], env)).code, 0)
  const { stdout } = await runKeyturn(['users', 'export'], inDjango)
  const run = await runKeyturn(['users', 'import', '-'], inDjango, stdout)
  t.match(run, {
    code: 0,
    stderr: /^The users go into Keyturn's own table, .* USERS_TABLE is set to auth_user\.\n.*: 1,200 created, /
  })
  t.equal((await runKeyturn(['users', 'export'], env)).stdout, stdout, 'ids are ids, whatever USER_ID_FIELD says')
  t.match(stdout, `\n{"id":"7","username":"user7","password_hash":"${aDigest}","is_active":true,`)
  t.match(stdout, /\n\{"id":"8",.*"is_active":false,"created_at":"2023-05-04T12:34:56Z"/)

  const keyturn = await startKeyturn(t, env)
  const { body } = await post(`${keyturn.url}/api/token/`, { username: 'user7', password: 'correct horse' })
  t.match(decodePart(body.access ?? '', 1), { user_id: 'user7' })
  const inactive = stdout.replaceAll('"is_active":true', '"is_active":false')
  t.equal((await runKeyturn(['users', 'import', '-', '--update'], env, inactive)).code, 0)
  t.equal(
    (await runKeyturn(['sessions', 'list', 'user7', '--json'], env)).stdout,
    '',
    'sessions end by the id of tokens'
  )
  t.equal(await keyturn.stop(), 0)
})

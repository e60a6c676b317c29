import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { beginning, chainFault } from '../../../src/audit/chain.ts'
import type { AuditEntry, AuditStore } from '../../../src/audit/store.ts'
import { makeAuditTrail } from '../../../src/audit/trail.ts'
import type { sslModes } from '../../../src/config/postgres-address.ts'
import type { StoredKey } from '../../../src/keys/store.ts'
import { type EmbeddedEngine, openEmbedded } from '../../../src/stores/embedded/engine.ts'
import type { SqlDatabase } from '../../../src/stores/sql/connection.ts'
import { makeAuditStore, withEntries } from '../../../src/stores/sql/audit.ts'
import { makeClientStore } from '../../../src/stores/sql/clients.ts'
import { makeKeyStore } from '../../../src/stores/sql/keys.ts'
import { migrate, pendingMigrations } from '../../../src/stores/sql/migrate.ts'
import { makeOneTimeTokenStore } from '../../../src/stores/sql/one-time-tokens.ts'
import { readDjangoTable } from '../../../src/stores/sql/django-table.ts'
import { openPostgres } from '../../../src/stores/sql/postgres.ts'
import { missingRights, ownRights, readOnlyReason } from '../../../src/stores/sql/rights.ts'
import { missingSchema } from '../../../src/stores/sql/schemas.ts'
import { makeUserImport } from '../../../src/stores/sql/user-import.ts'
import type { UserStore } from '../../../src/users/store.ts'
import { makeUserStore } from '../../../src/stores/sql/users.ts'
import { makeManualClock } from '../../../src/time.ts'
import type { User } from '../../../src/users/user.ts'
import { until } from '../../conformance/feed.ts'
import { clientStoreSuite } from '../../conformance/clients.ts'
import { oneTimeTokenStoreSuite } from '../../conformance/one-time-tokens.ts'
import { aGivenUser, userImportSuite } from '../../conformance/user-import.ts'
import { userStoreSuite } from '../../conformance/users.ts'
import { needsPostgres, withoutPostgres } from '../../support/needs.ts'
import { openProxy } from '../../support/proxy.ts'
import { createRole, type PostgresServer } from '../../support/postgres.ts'
import { type KeyPair, makeCertificates, turnOnTls } from '../../support/tls.ts'

const migrations = readdirSync(new URL('.', import.meta.resolve('#migrations/001.do.start.sql'))).toSorted()

/** An embedded database without tables, in a folder of its own. */
async function openScratch(t: Test): Promise<EmbeddedEngine> {
  // Not t.testdir(): subtests share its name.
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-sql-'))
  const db = openEmbedded(folder)
  t.teardown(async () => {
    await db.close()
    rmSync(folder, { recursive: true })
  })
  return db
}

t.test('embedded', async (t) => {
  const openEmpty = async (t: Test) => {
    const db = await openScratch(t)
    return { db, address: dirname(db.file) }
  }
  await databaseSuite(t, openEmpty)

  await t.test('an error that has ended the transaction is reported unchanged', async (t) => {
    const db = await openScratch(t)
    db.run('CREATE TABLE once (a TEXT UNIQUE)')
    db.run("INSERT INTO once (a) VALUES ('x')")
    const insert = "INSERT OR ROLLBACK INTO once (a) VALUES ('x')"
    await t.rejects(
      db.exclusively(({ query }) => query(insert)),
      { message: /UNIQUE constraint failed/ }
    )
    t.throws(() => db.transaction(() => db.run(insert)), { message: /UNIQUE constraint failed/ })
    t.equal(
      db.transaction(() => 'next'),
      'next'
    )
  })
})

t.test('the rights that are checked are those that the statements need', async (t) => {
  const folder = new URL('../../../../src/stores/sql/', import.meta.url)
  const sources = readdirSync(folder).filter((file) => file.endsWith('.ts'))
  const found = new Set<string>()
  for (const file of sources) {
    const source = readFileSync(new URL(file, folder), 'utf8')
    for (const [, verb = '', table] of source.matchAll(/(INSERT INTO|UPDATE|DELETE FROM|FROM|JOIN) (keyturn_\w+)/g)) {
      found.add(`${{ 'INSERT INTO': 'INSERT', UPDATE: 'UPDATE', 'DELETE FROM': 'DELETE' }[verb] ?? 'SELECT'} ${table}`)
      if (verb === 'DELETE FROM' || verb === 'UPDATE') found.add(`SELECT ${table}`)
    }
    for (const [, table] of source.matchAll(/INSERT INTO (keyturn_\w+)[^`]*DO UPDATE SET/g))
      found.add(`UPDATE ${table}`)
  }
  const checked = Object.entries(ownRights).flatMap(([table, rights]) => rights.map((right) => `${right} ${table}`))
  t.same(checked.toSorted(), [...found].toSorted())
})

t.test('a connection is given up after 2 seconds, or after the connect_timeout of the URL', async (t) => {
  const url = await openSilent(t)
  const givenUp: string[] = []
  const began = performance.now()
  const connect = async (parameters: string): Promise<void> => {
    const db = openPostgres(`${url}${parameters}`)
    await t.rejects(db.query('SELECT 1'), { code: 'STORE_DOWN' })
    givenUp.push(parameters)
    // A timer is never early, beyond a fraction of a millisecond.
    if (parameters === '?connect_timeout=3') t.ok(performance.now() - began > 2900)
    await db.close()
  }
  await Promise.all(['?connect_timeout=1', '', '?connect_timeout=3'].map(connect))
  t.same(givenUp, ['?connect_timeout=1', '', '?connect_timeout=3'])
})

t.test('PostgreSQL', { skip: withoutPostgres() }, async (t) => {
  const server = await needsPostgres(t, { tcp: true, own: true })
  const openEmpty = async (t: Test) => {
    const address = await server.createDatabase()
    const db = openPostgres(address)
    t.teardown(() => db.close())
    return { db, address }
  }
  await databaseSuite(t, openEmpty)

  await t.test('two installations share a database, each in its schema', async (t) => {
    const { db, address } = await openEmpty(t)
    await db.query('CREATE SCHEMA other')
    const other = openPostgres(`${address}?options=-c%20search_path%3Dother`)
    t.teardown(() => other.close())
    t.same(await migrate(db), migrations)
    t.equal(await pendingMigrations(other), migrations.length)
    t.same(await migrate(other), migrations)
    await makeUserStore(db, makeManualClock()).create('ann', 'digest')
    t.same(await makeUserStore(other, makeManualClock()).list('', 10), [])
  })

  await t.test('a schema that does not exist is reported as such, and no privilege on it', async (t) => {
    const { db, address } = await openEmpty(t)
    const searching = (path: string) => {
      const options = encodeURIComponent(`-c search_path=${path.replaceAll(' ', '\\ ')}`)
      const opened = openPostgres(`${address}${address.includes('?') ? '&' : '?'}options=${options}`)
      t.teardown(() => opened.close())
      return opened
    }
    const where = 'in DATABASE_URL, or with ALTER ROLE or ALTER DATABASE'
    const correct = `Correct search_path (${where}), or run: CREATE SCHEMA`
    const [{ user = '' } = {}] = await db.query<{ user: string }>('SELECT quote_ident(current_user) AS user')
    const rows = [
      ['Typo', `The schema typo does not exist. ${correct} typo AUTHORIZATION ${user}`],
      ['"A, ""b"""', `The schema "A, ""b""" does not exist. ${correct} "A, ""b""" AUTHORIZATION ${user}`],
      ['one, two', `None of the schemas one, two exists. ${correct} two AUTHORIZATION ${user}`],
      ['""', `search_path names none (it is ""). Set it ${where}`],
      ['"$user"', `search_path names none (it is "$user"). Set it ${where}`]
    ] as const
    for (const [path, message] of rows) {
      const lost = searching(path)
      t.equal(await missingSchema(lost), message)
      t.same(await missingRights(lost, undefined), [], path)
      await t.rejects(migrate(lost), { code: 'STORE_DOWN', message: /; no schema in search_path exists / }, path)
    }
    await db.query('DROP SCHEMA public')
    t.equal(await missingSchema(db), `The schema public does not exist. ${correct} public AUTHORIZATION ${user}`)
    await db.query(`CREATE SCHEMA ${user}`)
    t.equal(await missingSchema(db), undefined, "the user's own schema")
    t.equal(await missingSchema(searching('none, pg_catalog')), undefined)
  })

  await t.test('exclusive transactions take turns', async (t) => {
    const { db, address } = await openEmpty(t)
    const other = reopen(t, db, address)
    const log: string[] = []
    const { second } = await db.exclusively(async () => {
      const second = other.exclusively(async () => log.push('second'))
      await sleep(200)
      log.push('first')
      return { second }
    })
    await second
    t.same(log, ['first', 'second'])
  })

  await t.test('a name that somebody else takes during a batch is refused', async (t) => {
    const { db, address } = await openEmpty(t)
    await migrate(db)
    const other = new pg.Client({ connectionString: address })
    await other.connect()
    t.teardown(() => other.end())
    await other.query('BEGIN')
    await other.query("INSERT INTO keyturn_users VALUES ('1', 'ann', '!', 1, 0)")
    const batch = [aGivenUser('2', 'ann'), aGivenUser('3', 'ben')]
    const placing = makeUserImport(db, makeManualClock()).place(batch, { update: false })
    const isWaiting = async () =>
      (await db.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid'")).length > 0
    await until(isWaiting, 180_000)
    await other.query('COMMIT')
    t.match(await placing, [{ kind: 'refused', reason: /has just taken/ }, { kind: 'created' }])
  })

  await t.test('a missing right is STORE_DOWN, and named', async (t) => {
    const { db, address } = await openEmpty(t)
    await migrate(db)
    const { role, url } = await createRole(t, address)
    await db.query(`GRANT SELECT ON keyturn_users, keyturn_migrations TO ${role}`)
    const reader = openPostgres(url)
    t.teardown(() => reader.close())
    await t.rejects(makeUserStore(reader, makeManualClock()).create('ann', 'digest'), {
      code: 'STORE_DOWN',
      retryAfter: 1,
      message: /permission denied for table keyturn_users; GRANT INSERT ON keyturn_users to the user of DATABASE_URL/
    })
    await t.rejects(makeAuditStore(reader).add([{ seq: 1 } as AuditEntry]), {
      message: /; GRANT INSERT ON keyturn_audit to the user of DATABASE_URL/
    })
    const missing = await missingRights(reader, undefined)
    t.ok(missing.includes(`GRANT INSERT ON keyturn_users TO ${role}`))
    t.notOk(missing.includes(`GRANT SELECT ON keyturn_users TO ${role}`))
    t.equal(missing.length, Object.values(ownRights).flat().length - 2)
    for (const grant of missing) await db.query(grant)
    t.same(await missingRights(reader, undefined), [])
    await makeUserStore(reader, makeManualClock()).create('ann', 'digest')

    await db.query('REVOKE USAGE ON SCHEMA public FROM public')
    t.same(await missingRights(reader, undefined), [`GRANT USAGE ON SCHEMA public TO ${role}`], 'no table can be found')
    t.equal(await missingSchema(reader), undefined, 'but the schema exists')
    await t.rejects(migrate(reader), {
      message: /; no schema in search_path exists that the user of DATABASE_URL may use \(keyturn check-config reports /
    })
    await db.query(`GRANT USAGE ON SCHEMA public TO ${role}`)
    t.same(await migrate(reader), [], 'nothing has to be created')
    await db.query('ALTER TABLE keyturn_migrations RENAME TO set_aside')
    await t.rejects(migrate(reader), { message: /; GRANT CREATE ON SCHEMA public to the user of DATABASE_URL$/ })
    await db.query('ALTER TABLE set_aside RENAME TO keyturn_migrations')

    await db.query('CREATE TABLE auth_user (id int, username text, password text)')
    await db.query(`REVOKE USAGE ON SCHEMA public FROM ${role}`)
    await t.rejects(readDjangoTable(reader, 'auth_user', {}), {
      message: `USERS_TABLE: a privilege on the schema of auth_user is missing. Run: GRANT USAGE ON SCHEMA public TO ${role}.`
    })
    await t.rejects(readDjangoTable(reader, 'public.auth_user', {}), {
      message: /; GRANT USAGE ON SCHEMA public to the user of DATABASE_URL$/
    })
    await t.rejects(readDjangoTable(reader, 'auth_users', {}), { message: /auth_users does not exist/ })
    await db.query(`GRANT USAGE ON SCHEMA public TO ${role}`)
    const django = await readDjangoTable(reader, 'auth_user', {})
    t.same(await missingRights(reader, django), [
      ...['id', 'username', 'password'].map((column) => `GRANT SELECT ("${column}") ON "auth_user" TO ${role}`),
      `GRANT UPDATE ("password") ON "auth_user" TO ${role}`
    ])

    await db.query(`GRANT SELECT, UPDATE ON auth_user TO ${role}`)
    await db.query('ALTER TABLE auth_user ENABLE ROW LEVEL SECURITY')
    const policy = `CREATE POLICY keyturn ON "auth_user" TO ${role} USING (true)`
    t.same(await missingRights(reader, django), [policy], 'without a policy the table seems empty')
    t.same(await missingRights(db, django), [], 'a superuser sees all rows')
    await db.query(policy)
    t.same(await missingRights(reader, django), [])

    t.equal(await readOnlyReason(reader), undefined)
    await db.query(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
    const readOnly = openPostgres(url)
    t.teardown(() => readOnly.close())
    t.match(await readOnlyReason(readOnly), `run: ALTER ROLE ${role} SET default_transaction_read_only = off`)
    const standby = { query: async () => [{ standby: true, setting: 'on', user: role }] } as unknown as SqlDatabase
    t.match(await readOnlyReason(standby), 'DATABASE_URL has to name the primary')
  })

  await t.test('a table that is hidden or renamed at run time, or a renamed column, is STORE_DOWN', async (t) => {
    const { db } = await openEmpty(t)
    t.ok((await pendingMigrations(db)) > 0, 'a database that is not migrated is not down')
    await migrate(db)
    const users = makeUserStore(db, makeManualClock())
    await db.query('ALTER TABLE keyturn_users RENAME COLUMN password_hash TO digest')
    const advice = /does not exist; it was renamed or dropped, or the user of DATABASE_URL may not use its schema/
    await t.rejects(users.findByUsername('ann'), { code: 'STORE_DOWN', retryAfter: 1, message: advice })
    await db.query('ALTER TABLE keyturn_users RENAME TO people')
    await t.rejects(users.findByUsername('ann'), { code: 'STORE_DOWN', retryAfter: 1, message: advice })
  })

  await t.test('a lock timeout is STORE_DOWN', async (t) => {
    const { db, address } = await openEmpty(t)
    await migrate(db)
    const impatient = openPostgres(`${address}?lock_timeout=50`)
    t.teardown(() => impatient.close())
    await db.exclusively(async ({ query }) => {
      await query('LOCK TABLE keyturn_users')
      const creating = makeUserStore(impatient, makeManualClock()).create('ann', 'digest')
      await t.rejects(creating, { code: 'STORE_DOWN', retryAfter: 1, message: /lock timeout/ })
    })
  })

  await t.test('a change that was refused because it took too long does not take effect later', async (t) => {
    const { db, address } = await openEmpty(t)
    await migrate(db)
    const user = await makeUserStore(db, makeManualClock()).create('ann', 'digest')
    const id = user?.id ?? ''
    const isWaiting = async (): Promise<boolean> =>
      (await db.query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"))
        .length > 0
    const changes: readonly ((users: UserStore) => Promise<unknown>)[] = [
      (users) => users.replacePasswordHash(id, 'digest', 'other'),
      (users) => users.setPassword(id, 'other'),
      (users) => users.setActive(id, false),
      (users) => users.setClaims(id, { scope: 'keyturn.admin' }),
      (users) => users.rename(id, 'ben'),
      (users) => users.delete(id)
    ]
    for (const change of changes) {
      // Its circuit would open after a few.
      const impatient = openPostgres(address, { timeoutMs: 200 })
      t.teardown(() => impatient.close())
      await db.exclusively(async ({ query }) => {
        await query('SELECT 1 FROM keyturn_users WHERE id = $1 FOR UPDATE', [id])
        const changing = change(makeUserStore(impatient, makeManualClock()))
        await t.rejects(changing, { code: 'STORE_DOWN', message: /timeout/ })
        t.ok(await isWaiting(), 'the server goes on')
      })
      await until(async () => !(await isWaiting()), 180_000)
      t.same(await makeUserStore(db, makeManualClock()).findById(id), user)
    }
  })

  await t.test('a change without the right to add its entry is not made', async (t) => {
    const { db, address } = await openEmpty(t)
    await migrate(db)
    const { id = '' } = (await makeUserStore(db, makeManualClock()).create('ann', 'digest')) ?? {}
    const { role, url } = await createRole(t, address)
    await db.query(`GRANT SELECT, UPDATE ON keyturn_users TO ${role}`)
    await db.query(`GRANT SELECT ON keyturn_audit TO ${role}`)
    const writer = openPostgres(url)
    t.teardown(() => writer.close())
    const event = { event: 'user_password', result: 'ok', userId: id, ip: '', requestId: '', at: 0 } as const
    const entryOf = makeAuditTrail(makeAuditStore(writer), Buffer.alloc(32)).entryOf(event)
    const users = makeUserStore(withEntries(writer, entryOf), makeManualClock())
    const advice = /; GRANT INSERT ON keyturn_audit to the user of DATABASE_URL/
    await t.rejects(users.setPassword(id, 'other'), { code: 'STORE_DOWN', message: advice })
    t.match(await makeUserStore(db, makeManualClock()).findById(id), { passwordHash: 'digest' })
    await db.query(`GRANT INSERT ON keyturn_audit TO ${role}`)
    t.equal(await users.setPassword(id, 'other'), true)
    t.match(await makeAuditStore(db).last(), { event: 'user_password', userId: id })
  })

  await t.test('a change whose process hangs is rolled back by the server', async (t) => {
    const { db } = await openEmpty(t)
    const name = 'idle_in_transaction_session_timeout'
    t.same(await db.change(`SHOW ${name}`), [{ [name]: '2s' }])
    t.same(await db.query(`SHOW ${name}`), [{ [name]: '0' }], 'the connection keeps its own')
  })

  await t.test('a connection that breaks during a change is STORE_DOWN', async (t) => {
    const { db, address } = await openEmpty(t)
    await migrate(db)
    const user = await makeUserStore(db, makeManualClock()).create('ann', 'digest')
    const id = user?.id ?? ''
    const proxy = await openProxy(Number(new URL(address).port))
    t.teardown(() => proxy.close())
    const through = new URL(address)
    through.port = String(proxy.port)
    const broken = openPostgres(through.href)
    t.teardown(() => broken.close())
    await db.exclusively(async ({ query }) => {
      await query('SELECT 1 FROM keyturn_users WHERE id = $1 FOR UPDATE', [id])
      const changing = makeUserStore(broken, makeManualClock()).setPassword(id, 'other')
      const refused = t.rejects(changing, { code: 'STORE_DOWN' })
      while ((await db.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).length === 0)
        await sleep(10)
      for (const tunnel of proxy.tunnels()) tunnel.cut()
      await refused
    })
    t.same(await makeUserStore(db, makeManualClock()).findById(id), user)
  })

  await t.test('a statement that the server has undone is sent again, twice at most', async (t) => {
    const { db } = await openEmpty(t)
    await db.exclusively(({ script }) =>
      script(`CREATE SEQUENCE attempts;
        CREATE FUNCTION refuse(times int, state text) RETURNS int LANGUAGE plpgsql AS $$
          BEGIN
            IF nextval('attempts') <= times THEN RAISE 'undone' USING ERRCODE = state; END IF;
            RETURN 1;
          END $$`)
    )
    for (const state of ['40001', '40P01']) {
      for (const run of [db.query, db.change]) {
        t.same(await run(`SELECT refuse(2, '${state}') AS done`), [{ done: 1 }])
        await db.query("SELECT setval('attempts', 1, false)")
      }
      await t.rejects(db.query(`SELECT refuse(3, '${state}')`), { code: 'STORE_DOWN', retryAfter: 1 })
      await db.query("SELECT setval('attempts', 1, false)")
    }
    for (const state of ['26000', 'XX000', '55000', '53300'])
      await t.rejects(db.query(`SELECT refuse(100, '${state}')`), { code: 'STORE_DOWN' }, `${state}, as poolers answer`)
    await t.rejects(db.query('SELECT FROM WHERE'), { code: '42601' }, 'our own fault stays one')
  })

  await t.test('users looked up in one turn are one query', async (t) => {
    const { db } = await openEmpty(t)
    await migrate(db)
    // The server numbers its transactions, and each query is one: a user shows the number of the one it came with.
    await db.exclusively(({ script }) =>
      script(`ALTER TABLE keyturn_users RENAME TO people;
        CREATE VIEW keyturn_users AS SELECT id, username, password_hash, is_active, txid_current() AS created_at,
          last_login_at, claims FROM people;
        INSERT INTO people SELECT n, 'user ' || n, 'digest ' || n, 1, 0 FROM generate_series(1, 300) AS n;
        INSERT INTO people VALUES ('{"a,\\b"}', 'odd', '!', 0, 0, NULL, '{"role":"odd"}')`)
    )
    const users = makeUserStore(db, makeManualClock())
    const ids = Array.from({ length: 300 }, (_, index) => `${300 - index}`)
    const wanted = [...ids, '7', 'unknown', '\0', '', '{"a,\\b"}', 'NULL']
    const [found, other] = await Promise.all([Promise.all(wanted.map(users.findById)), db.query('SELECT 1 AS one')])
    t.same(other, [{ one: 1 }])
    t.same(
      found.map((user) => user?.username),
      [...ids.map((id) => `user ${id}`), 'user 7', undefined, undefined, undefined, 'odd', undefined],
      'each has its own answer, two of the same user too'
    )
    t.match(found[1], { id: '299', passwordHash: 'digest 299', isActive: true, claims: {} })
    t.match(found.at(-2), { isActive: false, claims: { role: 'odd' } })
    const queryOf = (user: User | undefined) => user?.createdAt
    t.equal(new Set(found.filter((user) => user !== undefined).map(queryOf)).size, 1)
    const again = await users.findById('7')
    t.match(again, { username: 'user 7' })
    t.not(queryOf(again), queryOf(found[0]), 'and the next turn has its own')
  })

  await t.test('numbers are numbers', async (t) => {
    const { db } = await openEmpty(t)
    const [row] = await db.query('SELECT COUNT(*) AS count, CAST(5000000000 AS BIGINT) AS big, $1 || $2 AS text', [
      '7',
      '1'
    ])
    t.same(row, { count: 1, big: 5_000_000_000, text: '71' })
  })

  await t.test('TLS as PGSSLMODE says', { skip: !server.isPrivate }, (t) => tlsSuite(t, server))
  await t.test('a server that is away', { skip: !server.isPrivate }, (t) => outageSuite(t, server))
})

/** What both engines must do. `address` is a folder or a URL. */
async function databaseSuite(
  t: Test,
  openEmpty: (t: Test) => Promise<{ readonly db: SqlDatabase; readonly address: string }>
): Promise<void> {
  const openMigrated = async (t: Test): Promise<SqlDatabase> => {
    const { db } = await openEmpty(t)
    await migrate(db)
    return db
  }

  await t.test('a migration is applied once', async (t) => {
    const { db } = await openEmpty(t)
    t.equal(await pendingMigrations(db), migrations.length)
    t.same(await migrate(db), migrations)
    t.equal(await pendingMigrations(db), 0)
    t.same(await migrate(db), [])
  })

  await t.test('tables of a later version do, and are left as they are', async (t) => {
    // Two releases run side by side for a while, and a release may be rolled back, which migrates with the older one.
    const db = await openMigrated(t)
    await db.query("INSERT INTO keyturn_migrations (version, name) VALUES (999, 'of the next release')")
    t.equal(await pendingMigrations(db), 0)
    t.same(await migrate(db), [])
    t.same(await db.query('SELECT MAX(version) AS version FROM keyturn_migrations'), [{ version: 999 }])
  })

  await t.test('processes that migrate at once take turns', async (t) => {
    const { db, address } = await openEmpty(t)
    const applied = await Promise.all(Array.from({ length: 3 }, () => migrateInProcess(address)))
    t.same(applied.flat(), migrations, 'one of them did it')
    t.equal(await pendingMigrations(db), 0)
  })

  await t.test('an exclusive transaction that fails leaves nothing', async (t) => {
    const db = await openMigrated(t)
    const failing = db.exclusively(async ({ query, script }) => {
      await script('CREATE TABLE left_behind (a TEXT); CREATE TABLE left_too (a TEXT)')
      await query('INSERT INTO left_behind (a) VALUES ($1)', ['x'])
      throw new Error('changed my mind')
    })
    await t.rejects(failing, { message: 'changed my mind' })
    await t.rejects(db.query('SELECT * FROM left_behind'), /left_behind/)
    t.equal(await db.exclusively(async () => 'next'), 'next')
  })

  await t.test('faulty SQL is a defect, not a store that is down', async (t) => {
    const db = await openMigrated(t)
    const attempts = [() => db.query('SELEKT 1'), () => db.exclusively(({ script }) => script('CREATE TABEL x'))]
    for (const attempt of attempts) {
      const error = await attempt().catch((reason) => reason)
      t.match(error.message, /syntax error/)
      t.not(error.code, 'STORE_DOWN')
    }
  })

  await t.test('users', (t) =>
    userStoreSuite(t, async () => {
      const clock = makeManualClock()
      return { store: makeUserStore(await openMigrated(t), clock), now: clock, advance: clock.advance }
    })
  )

  await t.test('clients', (t) =>
    clientStoreSuite(t, async () => {
      const clock = makeManualClock()
      return { store: makeClientStore(await openMigrated(t), clock), now: clock, advance: clock.advance }
    })
  )

  await t.test('one-time tokens', (t) =>
    oneTimeTokenStoreSuite(t, async () => {
      const { address, db } = await openEmpty(t)
      await migrate(db)
      const clock = makeManualClock()
      const [store, other] = [db, reopen(t, db, address)].map((each) => makeOneTimeTokenStore(each, clock))
      if (store === undefined || other === undefined) throw new Error('there are two')
      return { store, other, now: clock, advance: clock.advance }
    })
  )

  await t.test('USER_ID_FIELD=username: the name is the id', async (t) => {
    const store = makeUserStore(await openMigrated(t), makeManualClock(), 'username')
    const ann = await store.create('ann', 'old')
    const ben = await store.create('ben', 'old')
    t.match([ann, ben], [{ id: 'ann' }, { id: 'ben' }])
    t.same(await store.findById('ann'), ann)
    t.same(await store.findByUsername('ann'), ann)
    await store.setPassword('ann', 'new')
    await store.setActive('ann', false)
    await store.setClaims('ann', { team: 'blue' })
    t.same(await store.list('', 10), [{ ...ann, passwordHash: 'new', isActive: false, claims: { team: 'blue' } }, ben])
    await store.delete('ann')
    t.same(await store.list('', 10), [ben])
  })

  await t.test('users that are imported', (t) => userImportSuite(t, openMigrated, openScratch))

  await t.test('the audit trail: processes that write at once make one chain', async (t) => {
    const { address, db } = await openEmpty(t)
    await migrate(db)
    const secret = Buffer.alloc(32, 1)
    const stores = [db, reopen(t, db, address), reopen(t, db, address)].map(makeAuditStore)
    const trails = stores.map((store) => makeAuditTrail(store, secret))
    const event = (requestId: string, at: number) =>
      ({ event: 'login', result: 'ok', userId: 'ann', ip: '192.0.2.1', requestId, at }) as const
    await Promise.all(
      trails.flatMap((trail, writer) => Array.from({ length: 20 }, (_, at) => trail.record(event(`${writer}`, at))))
    )
    const [store] = stores as [AuditStore, ...AuditStore[]]
    const entries = await store.list(0, 100)
    t.equal(entries.length, 60)
    t.same(
      entries.flatMap((entry, index) => chainFault(entries[index - 1] ?? beginning, entry, secret) ?? []),
      []
    )
    for (const writer of ['0', '1', '2'])
      t.same(
        entries.filter(({ requestId }) => requestId === writer).map(({ at }) => at),
        Array.from({ length: 20 }, (_, at) => at),
        'each in its own order'
      )
    t.same(await store.last(), entries.at(-1))
    t.same(await store.list(58, 1), [entries[58]])
    const late = [0, 1].map((each) => ({ ...(entries[59] as AuditEntry), seq: 60 + each }))
    t.equal(await store.add(late), false, 'of a batch whose first position is taken, nothing is added')
    t.equal((await store.list(0, 100)).length, 60)
    t.match(entries[0], { userId: 'ann', sid: undefined, object: undefined, actor: undefined })
    t.equal(await store.countUnplaced(), 0)
    await db.query(
      "INSERT INTO keyturn_audit (id, at, event, result, ip, request_id) VALUES ('a', 1, 'login', 'ok', '', '')"
    )
    t.equal(await store.countUnplaced(), 1, 'of a version without places')
    t.equal((await store.list(0, 100)).length, 60)
  })

  await t.test('a change and its entry are committed together, and the entries make one chain', async (t) => {
    const { address, db } = await openEmpty(t)
    await migrate(db)
    const [secret, clock] = [Buffer.alloc(32, 1), makeManualClock()]
    const event = (name: 'login' | 'user_password', userId?: string) =>
      ({ event: name, result: 'ok', userId, ip: '192.0.2.1', requestId: '', at: 0 }) as const
    const processes = [db, reopen(t, db, address)].map((each) => {
      const trail = makeAuditTrail(makeAuditStore(each), secret)
      const usersWith = (...[name, userId]: Parameters<typeof event>): UserStore =>
        makeUserStore(withEntries(each, trail.entryOf(event(name, userId))), clock)
      return { trail, usersWith }
    })
    const [{ usersWith }] = processes as [(typeof processes)[number]]
    const { id } = (await usersWith('user_password').create('ann', 'digest')) as User
    t.equal(await usersWith('user_password').create('ann', 'digest'), undefined, 'taken: no entry')
    t.equal(await usersWith('user_password', 'unknown').setPassword('unknown', 'x'), false, 'not found: no entry')
    await Promise.all(
      processes.flatMap(({ trail, usersWith }) =>
        Array.from({ length: 20 }, (_, each) =>
          Promise.all([usersWith('user_password', id).setPassword(id, `${each}`), trail.record(event('login'))])
        )
      )
    )
    const entries = await makeAuditStore(db).list(0, 100)
    t.equal(entries.length, 81)
    t.equal(entries.filter(({ event, userId }) => event === 'user_password' && userId === id).length, 41)
    t.same(
      entries.flatMap((entry, index) => chainFault(entries[index - 1] ?? beginning, entry, secret) ?? []),
      []
    )
    const user = await makeUserStore(db, clock).findById(id)
    await db.query('ALTER TABLE keyturn_audit RENAME TO set_aside')
    await t.rejects(usersWith('user_password', id).setPassword(id, 'without an entry'), { message: /keyturn_audit/ })
    t.same(await makeUserStore(db, clock).findById(id), user)
  })

  await t.test('keys: of several that come first, one is active', async (t) => {
    const { address, db } = await openEmpty(t)
    await migrate(db)
    const other = reopen(t, db, address)
    const keys = Array.from({ length: 10 }, () => aKey())
    await Promise.all(keys.map((key, each) => makeKeyStore(each % 2 === 0 ? db : other).addFirst(key)))
    const [first, ...others] = await makeKeyStore(db).list()
    t.same(others, [])
    t.same(
      [first],
      keys.filter((key) => key.kid === first?.kid),
      'it comes back as it was given'
    )
    const internal = aKey({ purpose: 'internal' })
    const retired = aKey({ state: 'retired', createdAt: 1 })
    await makeKeyStore(db).addFirst(internal)
    await makeKeyStore(db).addFirst(retired)
    t.same((await makeKeyStore(other).list()).length, 3, 'each purpose has its own, and only active ones count')
  })
}

const aKey = (changes: Partial<StoredKey> = {}): StoredKey => ({
  kid: randomBytes(6).toString('base64url'),
  purpose: 'access',
  algorithm: 'ES256',
  state: 'active',
  sealed: 'sealed',
  activatedAt: undefined,
  retiredAt: undefined,
  createdAt: 1_700_000_000,
  ...changes
})

/** A second connection to the same data. */
function reopen(t: Test, { dialect }: SqlDatabase, address: string): SqlDatabase {
  const db = dialect === 'sqlite' ? openEmbedded(address) : openPostgres(address)
  t.teardown(() => db.close())
  return db
}

async function migrateInProcess(address: string): Promise<readonly string[]> {
  const source = (path: string) => JSON.stringify(new URL(`../../../src/stores/${path}`, import.meta.url))
  const program = `
    import { openEmbedded } from ${source('embedded/engine.js')}
    import { openPostgres } from ${source('sql/postgres.js')}
    import { migrate } from ${source('sql/migrate.js')}
    const address = ${JSON.stringify(address)}
    const db = address.startsWith('/') ? openEmbedded(address) : openPostgres(address)
    console.log(JSON.stringify(await migrate(db)))
    await db.close()`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program])
  return JSON.parse(stdout)
}

async function tlsSuite(t: Test, server: PostgresServer): Promise<void> {
  const pair = makeCertificate(t)
  await turnOnTls(server, pair)
  const query = async (url: string, sslmode?: (typeof sslModes)[number]) => {
    const db = openPostgres(url, sslmode === undefined ? {} : { sslmode })
    try {
      const [row] = await db.query<{ ssl: boolean }>('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
      return row?.ssl
    } finally {
      await db.close()
    }
  }
  const { url } = server
  t.equal(await query(url), false, 'as libpq without a mode, but never in the clear when one is said')
  t.equal(await query(url, 'disable'), false)
  t.equal(await query(url, 'require'), true, 'encrypted, with any certificate')
  t.equal(await query(url, 'no-verify'), true)
  await t.rejects(query(url, 'verify-full'), {
    code: 'STORE_DOWN',
    detail: /self.signed.*NODE_EXTRA_CA_CERTS.*PGSSLMODE=no-verify$/
  })
  t.equal(await query(`${url}?sslrootcert=${pair.certificate}`, 'verify-full'), true, 'a certificate that is known')
  t.equal(await query(`${url}?sslmode=require`), true, 'in the URL it means the same')
  t.equal(await query(`${url}?sslmode=no-verify`), true)
  await t.rejects(query(`${url}?sslmode=verify-full`), { code: 'STORE_DOWN' })
  t.equal(await query(`${url}?sslmode=verify-full`, 'require'), true, 'the setting outweighs the URL')

  const certificates = makeCertificates()
  t.teardown(() => certificates.remove())
  await turnOnTls(server, certificates.elsewhere)
  const [known, unknown] = [certificates.authority, certificates.selfSigned].map(
    ({ certificate }) => `${url}?sslrootcert=${certificate}`
  )
  t.equal(await query(`${known}&sslmode=verify-ca`), true, 'of a known authority, for another host')
  t.equal(await query(`${known}`, 'verify-ca'), true)
  await t.rejects(query(`${known}&sslmode=verify-full`), { code: 'STORE_DOWN', detail: /altnames/ })
  await t.rejects(query(`${unknown}&sslmode=verify-ca`), { code: 'STORE_DOWN', detail: /certificate/ })
}

/** A server that accepts connections and never answers. */
async function openSilent(t: Test): Promise<string> {
  const sockets = new Set<Socket>()
  const silent = createServer((socket) => void sockets.add(socket)).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  return `postgres://keyturn@127.0.0.1:${(silent.address() as AddressInfo).port}/keyturn`
}

/** A self-signed certificate for 127.0.0.1. */
function makeCertificate(t: Test): KeyPair {
  const folder = t.testdir()
  const [key, certificate] = [join(folder, 'server.key'), join(folder, 'server.crt')]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  return { key, certificate }
}

async function outageSuite(t: Test, server: PostgresServer): Promise<void> {
  const db = openPostgres(server.url)
  t.teardown(() => db.close())
  const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1, detail: /^PostgreSQL: / }
  await Promise.all(Array.from({ length: 5 }, () => db.query('SELECT 1')))

  await server.kill()
  await t.rejects(db.query('SELECT 1'), down)
  await t.rejects(
    db.exclusively(async () => 1),
    down
  )
  const users = makeUserStore(db, makeManualClock())
  const lookingUp = ['1', '2', '3'].map(users.findById)
  await Promise.allSettled(lookingUp)
  for (const each of lookingUp) await t.rejects(each, down, 'all lookups of the turn fail')
  await server.restart()
  t.same(await db.query('SELECT 1 AS one'), [{ one: 1 }], 'it recovers by itself')

  const working = db.exclusively(async ({ query }) => {
    await server.kill()
    await query('SELECT 1')
  })
  await t.rejects(working, down, 'a transaction that loses its server')
  await server.restart()

  const [row] = await db.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  await server.kill('SIGSTOP')
  process.kill(row?.pid ?? 0, 'SIGSTOP')
  const waiting = db.query('SELECT 1')
  const fresh = openPostgres(server.url)
  await t.rejects(fresh.query('SELECT 1'), down, 'a server that accepts and says nothing')
  await t.rejects(waiting, down)
  // Each probe that comes a second after the one before waits again: on a busy machine that may be this one.
  const reason = () => fresh.query('SELECT 1').catch(({ detail }) => String(detail))
  await until(async () => /^PostgreSQL: circuit open/.test(String(await reason())))
  t.pass('then no query waits any more')
  process.kill(row?.pid ?? 0, 'SIGCONT')
  await server.kill('SIGCONT')
  t.same(await db.query('SELECT 1 AS one'), [{ one: 1 }])
  await until(async () => Array.isArray(await reason()))
  t.same(await fresh.query('SELECT 1 AS one'), [{ one: 1 }], 'until a probe, a second later, is answered')
  await fresh.close()

  const small = openPostgres(server.url, { pool: 2 })
  const pids = await Promise.all(
    Array.from({ length: 20 }, () => small.query<{ pid: number }>('SELECT pg_backend_pid() AS pid, pg_sleep(0.01)'))
  )
  t.equal(new Set(pids.map(([row]) => row?.pid)).size, 2, 'as many connections as it may have')
  await small.close()

  const secret = 'pass@word'
  t.throws(() => openPostgres(`postgres://me:${secret}@[:1/x`), { message: /^got more than one @/ })
  t.notMatch(String(tryToOpen(`postgres://me:${secret}@[:1/x`)), secret)
  const elsewhere = openPostgres(server.url.replace(/\/\w+$/, '/no_such_database'))
  await t.rejects(elsewhere.query('SELECT 1'), down, 'not let in is as good as away')
  await elsewhere.close()
}

function tryToOpen(url: string): unknown {
  try {
    return openPostgres(url)
  } catch (error) {
    return [error, (error as Error).stack, (error as Error).cause].join()
  }
}

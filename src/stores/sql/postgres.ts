import pg from 'pg'
import { type PostgresAddress, parsePostgresUrl } from '../../config/postgres-address.ts'
import type { Config } from '../../config/settings.ts'
import { KeyturnError } from '../../errors.ts'
import { makeBatch } from '../batch.ts'
import { CircuitBreaker, type StoreObserver, watched } from '../circuit.ts'
import {
  type KeyedRows,
  type SqlDatabase,
  type SqlQueries,
  type SqlRow,
  type SqlValue,
  type Statement,
  type Steps,
  summarize
} from './connection.ts'

// Milliseconds. A login waits at most this long for a connection (unless the URL has a connect_timeout), and then for its rows. Not
// set as statement_timeout, which poolers such as PgBouncer refuse at the start of a connection.
const connectTimeoutMs = 2000
const queryTimeoutMs = 5000
// A migration may wait for that of another process, and may rewrite a table.
const exclusiveTimeoutMs = 600_000

/** The number of our advisory lock, which no other program may use in the same database: 'keyt' in ASCII. */
const lockNumber = 0x6b_65_79_74

export interface PostgresOptions {
  /** Takes precedence over the one in the URL. */
  readonly sslmode?: Config['pgsslmode']
  /** Maximum connections, which may all be opened at once when the server returns. */
  readonly pool?: number
  readonly observer?: StoreObserver | undefined
  /** How long a statement may take, in milliseconds. */
  readonly timeoutMs?: number
}

/**
 * PostgreSQL with a pool of connections, opened on demand, so that a server that is down now is used when it returns. Throws
 * Error, without the URL, if that is invalid (loadConfig refuses it before); queries throw KeyturnError STORE_DOWN if the server
 * does not respond or refuses for its own reasons (a missing privilege, a lock timeout), and pg's own error for faulty SQL.
 */
export function openPostgres(
  url: string,
  { sslmode, pool: max = 4, observer = {}, timeoutMs = queryTimeoutMs }: PostgresOptions = {}
): SqlDatabase {
  const settings = connectionSettings(parsePostgresUrl(url, sslmode))
  const pool = new pg.Pool({ ...settings, max, query_timeout: timeoutMs })
  // The pool has already removed a broken idle connection; without a listener the process would exit.
  pool.on('error', () => {})
  const circuit = new CircuitBreaker({ name: 'PostgreSQL', probe: () => runOn(pool, 'SELECT 1'), observer })
  const guard = <Row>(sql: string, run: () => Promise<readonly Row[]>): Promise<readonly Row[]> =>
    circuit.run(run, observer.waited && { operation: summarize(sql) })
  return {
    dialect: 'postgres',
    query: (sql, values) => guard(sql, () => runOn(pool, sql, values)),
    change: (sql, values, then) => guard(sql, () => commit(pool, { sql, values }, then)),
    finder<Row>(rows: KeyedRows) {
      const find = makeBatch((keys: readonly string[]) =>
        circuit.run(() => findAll<Row>(pool, rows, keys), { callers: keys.length })
      )
      return (key) => watched(observer, 'PostgreSQL', `SELECT ${rows.table}`, () => find(key))
    },
    exclusively: (work) => runExclusively(settings, work),
    close: () => pool.end()
  }
}

function connectionSettings({ connectionString, connectTimeout }: PostgresAddress): pg.ClientConfig {
  const types = new pg.TypeOverrides()
  // pg returns BIGINT as text. Ours are times and counts, far below 2^53.
  types.setTypeParser(pg.types.builtins.INT8, Number)
  return {
    connectionString,
    types,
    connectionTimeoutMillis: connectTimeout === undefined ? connectTimeoutMs : connectTimeout * 1000,
    keepAlive: true,
    fallback_application_name: 'keyturn'
  }
}

/** How often a statement is retried that the server has rolled back. */
const maxRetries = 2

type Values = readonly (SqlValue | readonly string[])[]

/**
 * Runs one statement. A statement of its own is retried after a deadlock or a serialization failure, which have rolled it back;
 * within a transaction, on a client, the whole transaction would have to be retried.
 */
const runOn = <Row>(connection: pg.Pool | pg.Client, sql: string, values: Values = []): Promise<readonly Row[]> =>
  retried(
    () => sql,
    connection instanceof pg.Pool ? maxRetries : 0,
    async () => (await connection.query(sql, [...values])).rows
  )

/**
 * Begins the transaction of a change. READ COMMITTED, whatever the default is, so that each statement sees the newest entry of the audit
 * trail. If this process hangs or loses its connection, the server ends the transaction, for whose locks other processes wait.
 */
const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 2000'

/**
 * Runs a statement, and those that `then` yields, in a transaction. Our own time-out ends only the waiting: the server would still run
 * a statement that waits for a lock, and commit it. Without our COMMIT it rolls back, since the connection has been closed by then.
 */
function commit<Row>(
  pool: pg.Pool,
  change: Statement,
  then: ((rows: readonly SqlRow[]) => Steps) | undefined
): Promise<readonly Row[]> {
  let running = change.sql
  const runChange = async (): Promise<readonly Row[]> => {
    const client = await pool.connect()
    // The query that is running rejects too. Without a listener, a connection that breaks would end the process.
    client.on('error', ignore)
    const run = async ({ sql, values = [] }: Statement) => {
      running = sql
      return (await client.query(sql, [...values])).rows
    }
    try {
      await client.query(begin)
      const rows = await run(change)
      const steps = then?.(rows)
      for (let step = steps?.next(); step?.done === false; ) step = steps?.next(await run(step.value))
      await client.query('COMMIT')
      client.release()
      return rows
    } catch (error) {
      client.release(true)
      throw error
    } finally {
      client.off('error', ignore)
    }
  }
  return retried(() => running, maxRetries, runChange)
}

const ignore = (): void => {}

/**
 * What `run` resolves to; it is called again after a failure that has undone the statement. Throws as rethrow does; `running` is
 * the statement that failed.
 */
async function retried<T>(running: () => string, retries: number, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (retries === 0 || !undone.has((error as PostgresFailure).code ?? '')) return rethrow(error as Error, running())
    return await retried(running, retries - 1, run)
  }
}

/**
 * The rows of `keys`, in the same order. The server returns the position of each, so that it alone decides what is equal: a UUID
 * has several spellings.
 */
async function findAll<Row>(
  pool: pg.Pool,
  { table, columns, key, type }: KeyedRows,
  keys: readonly string[]
): Promise<readonly (Row | undefined)[]> {
  const rows = await runOn<Row & { readonly keyturn_place: number }>(
    pool,
    `SELECT keyturn_place, ${columns}
     FROM unnest($1::${type}[]) WITH ORDINALITY AS asked (keyturn_key, keyturn_place) JOIN ${table} ON ${key} = keyturn_key`,
    [keys]
  )
  const found = new Array<Row | undefined>(keys.length)
  for (const row of rows) found[row.keyturn_place - 1] = row
  return found
}

/** On a separate connection: if this process dies, the server rolls back and releases the lock. */
async function runExclusively<T>(
  settings: pg.ClientConfig,
  work: Parameters<SqlDatabase['exclusively']>[0]
): Promise<T> {
  const client = new pg.Client({
    ...settings,
    query_timeout: exclusiveTimeoutMs
  })
  client.on('error', () => {})
  const query: SqlQueries['query'] = (sql, values) => runOn(client, sql, values)
  // Without values, pg uses the simple protocol, which accepts several statements in one query.
  const script = async (sql: string): Promise<void> =>
    void (await client.query(sql).catch((error) => rethrow(error, sql)))
  try {
    await client.connect().catch((error) => rethrow(error))
    await script('BEGIN')
    await query('SELECT pg_advisory_xact_lock($1)', [lockNumber])
    const result = await work({ query, script })
    await script('COMMIT')
    return result as T
  } finally {
    await client.end()
  }
}

type PostgresFailure = Error & { readonly code?: string }

/** SQLSTATEs after which the statement has been rolled back: serialization_failure and deadlock_detected. */
const undone: ReadonlySet<string> = new Set(['40001', '40P01'])

/**
 * SQLSTATE classes of faults of a statement or its values, which the caller has to handle: feature, cardinality, data, integrity,
 * cursor, syntax and access rule, check option. All others concern the state of the server, a pooler or other transactions, and
 * so do a missing privilege and a missing table or column: our statements fit the tables that were checked at the start.
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const isOfStatement = (code: string): boolean => /^(0A|2[1234]|42|44)/.test(code) && !ofDatabase.has(code)

const insufficientPrivilege = '42501'
/** undefined_table (also one in a schema that the user may not use) and undefined_column. */
const undefinedNames: ReadonlySet<string> = new Set(['42P01', '42703'])
const ofDatabase: ReadonlySet<string> = new Set([insufficientPrivilege, ...undefinedNames])
/** invalid_schema_name: the schemas in search_path do not exist, or the user may not use them. */
const noSchema = '3F000'

/** Advice if server and client do not agree on TLS. */
const aboutTls: readonly (readonly [failure: RegExp, advice: string])[] = [
  [/no encryption$/, '; encrypt with PGSSLMODE=require'],
  [
    /certificate|altnames/i,
    '; trust who signed its certificate with NODE_EXTRA_CA_CERTS, or accept any with PGSSLMODE=no-verify'
  ]
]

/** An error without SQLSTATE comes from the socket, a pooler, or a time-out of pg. */
function rethrow(error: PostgresFailure, sql = ''): never {
  const { code = '' } = error
  if (error instanceof pg.DatabaseError && isOfStatement(code)) throw error
  throw new KeyturnError('STORE_DOWN', {
    detail: `PostgreSQL: ${error.message || code}${advise(error, sql)}`,
    retryAfter: 1,
    cause: error
  })
}

function advise({ code = '', message }: PostgresFailure, sql: string): string {
  const [, schema] = /^permission denied for schema (\S+)/.exec(message) ?? []
  if (schema !== undefined) {
    const right = /^\s*CREATE\b/i.test(sql) ? 'CREATE' : 'USAGE'
    return `; GRANT ${right} ON SCHEMA ${schema} to the user of DATABASE_URL`
  }
  if (code === noSchema)
    return '; no schema in search_path exists that the user of DATABASE_URL may use (keyturn check-config reports what to do)'
  if (code === insufficientPrivilege)
    return `; GRANT ${rightsOf(sql, message)} to the user of DATABASE_URL (keyturn check-config lists what is missing)`
  if (undefinedNames.has(code))
    return '; it was renamed or dropped, or the user of DATABASE_URL may not use its schema (see keyturn check-config)'
  return aboutTls.find(([failure]) => failure.test(message))?.[1] ?? ''
}

/** The privilege required on a table, by the keywords before its name. */
const rightAfter: Readonly<Record<string, string>> = {
  FROM: 'SELECT',
  JOIN: 'SELECT',
  'INSERT INTO': 'INSERT',
  UPDATE: 'UPDATE',
  'DELETE FROM': 'DELETE'
}

/** The privileges that `sql` needs on the table that `message` names, as in `SELECT, INSERT ON keyturn_audit`. */
function rightsOf(sql: string, message: string): string {
  const [, table] = /^permission denied for (?:table|view) (\S+)$/.exec(message) ?? []
  if (table === undefined) return 'what is missing'
  const uses = sql.matchAll(/\b(INSERT INTO|DELETE FROM|UPDATE|FROM|JOIN)\s+(?:[^\s.]+\.)?"?([\w$]+)/g)
  const rights = [...uses].filter(([, , name]) => name === table).map(([, words = '']) => rightAfter[words])
  return `${rights.length === 0 ? 'what is missing' : [...new Set(rights)].join(', ')} ON ${table}`
}

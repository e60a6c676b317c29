import pg from 'pg'
import { type PostgresAddress, parsePostgresUrl } from '../../config/postgres-address.ts'
import type { Config } from '../../config/settings.ts'
import { KeyturnError } from '../../errors.ts'
import { makeBatch } from '../batch.ts'
import { CircuitBreaker, type CircuitReport } from '../circuit.ts'
import type { KeyedRows, SqlDatabase, SqlQueries, SqlValue } from './connection.ts'

// Milliseconds. A login waits at most this long for a connection (unless the URL has a connect_timeout), and then for its rows. Not as a statement_timeout, which
// poolers such as PgBouncer refuse at a connection's start.
const connectTimeoutMs = 2000
const queryTimeoutMs = 5000
// Migrations may wait for another process that migrates, and may rewrite a table.
const exclusiveTimeoutMs = 600_000

/** Any number, as long as no other program takes an advisory lock on it in the same database: 'keyt' in ASCII. */
const lockNumber = 0x6b_65_79_74

export interface PostgresOptions {
  /** Takes precedence over the one in the URL. */
  readonly sslmode?: Config['pgsslmode']
  /** Connections at most; so many come at once when the server is back. */
  readonly pool?: number
  readonly report?: CircuitReport | undefined
}

/**
 * PostgreSQL behind a pool of connections, opened as they are needed: a server that is away now is found when it comes back.
 * Throws Error, without the URL, when that cannot be read (loadConfig has refused it before); queries throw
 * KeyturnError STORE_DOWN when the server does not answer or refuses for its own reasons (a missing right, a lock timeout), and
 * pg's own error for faulty SQL.
 */
export function openPostgres(url: string, { sslmode, pool: max = 4, report }: PostgresOptions = {}): SqlDatabase {
  const settings = connectionSettings(parsePostgresUrl(url, sslmode))
  const pool = new pg.Pool({ ...settings, max, query_timeout: queryTimeoutMs })
  // An idle connection that breaks is gone from the pool already; without a listener the process would end.
  pool.on('error', () => {})
  const circuit = new CircuitBreaker({ name: 'PostgreSQL', probe: () => runOn(pool, 'SELECT 1'), report })
  return {
    dialect: 'postgres',
    query: (sql, values) => circuit.run(() => runOn(pool, sql, values)),
    finder: (rows) => makeBatch((keys) => circuit.run(() => findAll(pool, rows, keys), { callers: keys.length })),
    exclusively: (work) => runExclusively(settings, work),
    close: () => pool.end()
  }
}

function connectionSettings({ connectionString, connectTimeout }: PostgresAddress): pg.ClientConfig {
  const types = new pg.TypeOverrides()
  // pg gives BIGINT as text. Ours are times and counts, far below 2^53.
  types.setTypeParser(pg.types.builtins.INT8, Number)
  return {
    connectionString,
    types,
    connectionTimeoutMillis: connectTimeout === undefined ? connectTimeoutMs : connectTimeout * 1000,
    keepAlive: true,
    fallback_application_name: 'keyturn'
  }
}

/** How often a statement is sent again that the server has undone whole. */
const maxRetries = 2

/**
 * Runs one statement. As a transaction of its own it is sent again after a deadlock or a serialization failure, which have undone
 * it; within a transaction, on a client, all of that would have to be.
 */
async function runOn<Row>(
  connection: pg.Pool | pg.Client,
  sql: string,
  values: readonly (SqlValue | readonly string[])[] = []
): Promise<readonly Row[]> {
  for (let retries = connection instanceof pg.Pool ? maxRetries : 0; ; retries -= 1) {
    try {
      return (await connection.query(sql, [...values])).rows
    } catch (error) {
      if (retries === 0 || !undone.has((error as PostgresFailure).code ?? '')) return rethrow(error as Error, sql)
    }
  }
}

/**
 * The rows of `keys`, each in its place. The server tells the place, so that it alone decides what is equal: of a uuid there are
 * several spellings.
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

/** On a connection of its own: with it the transaction ends and the lock goes, whatever happens to this process. */
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
  // Without values pg uses the simple protocol, which takes several statements at once.
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

/** SQLSTATEs after which nothing of the statement remains: serialization_failure and deadlock_detected. */
const undone: ReadonlySet<string> = new Set(['40001', '40P01'])

/**
 * SQLSTATE classes of what is wrong with a statement or its values, which its caller has to know: feature, cardinality, data,
 * integrity, cursor, syntax and access rule, check option. All others are the state of the server, of a pooler before it, or of
 * other transactions, and so is a right that is missing (insufficient_privilege).
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const isOfStatement = (code: string): boolean => /^(0A|2[1234]|42|44)/.test(code) && code !== insufficientPrivilege

const insufficientPrivilege = '42501'

/** What helps when server and client do not agree on TLS. */
const aboutTls: readonly (readonly [failure: RegExp, advice: string])[] = [
  [/no encryption$/, '; encrypt with PGSSLMODE=require'],
  [
    /certificate|altnames/i,
    '; trust who signed its certificate with NODE_EXTRA_CA_CERTS, or accept any with PGSSLMODE=no-verify'
  ]
]

/** What has no SQLSTATE comes from the socket, from a pooler, or is a timeout of pg. */
function rethrow(error: PostgresFailure, sql = ''): never {
  const { code = '' } = error
  if (error instanceof pg.DatabaseError && isOfStatement(code)) throw error
  throw new KeyturnError('STORE_DOWN', {
    detail: `PostgreSQL: ${error.message || code}${advise(error, sql)}`,
    retryAfter: 1,
    cause: error
  })
}

function advise({ code, message }: PostgresFailure, sql: string): string {
  if (code === insufficientPrivilege) {
    const [, right = 'it'] = /^\s*(SELECT|INSERT|UPDATE|DELETE)\b/i.exec(sql) ?? []
    return `; GRANT ${right} to the user of DATABASE_URL (keyturn check-config lists what is missing)`
  }
  return aboutTls.find(([failure]) => failure.test(message))?.[1] ?? ''
}

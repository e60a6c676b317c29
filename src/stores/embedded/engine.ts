import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite'
import { KeyturnError } from '../../errors.ts'
import type { StoreObserver } from '../circuit.ts'
import {
  type KeyedRows,
  type SqlDatabase,
  type SqlRow,
  type SqlValue,
  type Steps,
  summarize
} from '../sql/connection.ts'

/** One SQLite file shared by the processes of this host. Its calls block, so statements are short and use keys. */
export interface EmbeddedEngine extends SqlDatabase {
  readonly file: string
  /** Runs one statement with the values $1, $2 … synchronously and returns its rows. */
  run<Row = SqlRow>(sql: string, values?: readonly SqlValue[]): readonly Row[]
  /** Runs `work` in one write transaction, which excludes other writers. */
  transaction<T>(work: () => T): T
  /**
   * The same for writes that a power failure may lose: it does not wait for the disk, which takes most of the time of a write.
   * Other transactions are not affected.
   */
  lightTransaction<T>(work: () => T): T
}

/**
 * Opens DATA_DIR/keyturn.db, readable by its owner only, in WAL mode with every commit flushed (synchronous=FULL).
 * Throws KeyturnError STORE_DOWN if the directory or the file cannot be written.
 * `observer` learns of each transaction, and of each statement outside of one.
 */
export function openEmbedded(dataDir: string, observer?: StoreObserver): EmbeddedEngine {
  const file = join(dataDir, 'keyturn.db')
  return guarded(() => {
    makeFolder(dataDir)
    const database = new DatabaseSync(file)
    chmodSync(file, 0o600)
    database.exec(`pragma busy_timeout=${patience}`)
    switchToWal(database)
    for (const pragma of ['synchronous=FULL', 'foreign_keys=on']) database.exec(`pragma ${pragma}`)
    return makeEngine(file, database, observer)
  })
}

/** Without `recursive`, which never returns where directories cannot be created, such as below /proc (Node 20 to 26). */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return
  if (dirname(folder) !== folder) makeFolder(dirname(folder))
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process has created it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** How long a process waits for another writer, in milliseconds. */
const patience = 5000

/**
 * If several processes switch a new file to WAL at once, SQLite fails all but one without waiting, since waiting could deadlock.
 * So the wait is here, between attempts.
 */
function switchToWal(database: DatabaseSyncInstance): void {
  const until = performance.now() + patience
  for (;;) {
    try {
      database.exec('pragma journal_mode=WAL')
      return
    } catch (error) {
      if (!/locked/.test((error as Error).message) || performance.now() > until) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 + Math.random() * 20)
    }
  }
}

function prepareOnce(
  database: DatabaseSyncInstance,
  statements: Map<string, StatementSyncInstance>,
  sql: string
): StatementSyncInstance {
  const known = statements.get(sql)
  if (known !== undefined) return known
  const statement = database.prepare(sql.replace(/\$(\d+)/g, '?$1'))
  statements.set(sql, statement)
  return statement
}

/** Reports the duration of `work` as one call of one caller; `sql` is its statement. */
function observed<T>(observer: StoreObserver | undefined, sql: string | undefined, work: () => T): T {
  if (observer === undefined) return work()
  const startedAt = performance.now()
  const report = (error?: unknown): void => {
    const ms = performance.now() - startedAt
    observer.called?.('SQLite', ms, error)
    observer.waited?.('SQLite', sql === undefined ? 'transaction' : summarize(sql), ms, error)
  }
  try {
    const result = work()
    report()
    return result
  } catch (error) {
    report(error)
    throw error
  }
}

function transact<T>(database: DatabaseSyncInstance, work: () => T): T {
  guarded(() => database.exec('BEGIN IMMEDIATE'))
  try {
    const result = work()
    guarded(() => database.exec('COMMIT'))
    return result
  } catch (error) {
    rollBack(database)
    throw error
  }
}

/** Some errors, such as a full disk, have already ended the transaction; another rollback would hide the error. */
function rollBack(database: DatabaseSyncInstance): void {
  if (database.isTransaction) database.exec('ROLLBACK')
}

function makeEngine(file: string, database: DatabaseSyncInstance, observer: StoreObserver | undefined): EmbeddedEngine {
  const statements = new Map<string, StatementSyncInstance>()
  const prepare = (sql: string): StatementSyncInstance => prepareOnce(database, statements, sql)
  const runNow = <Row>(sql: string, values: readonly SqlValue[]): readonly Row[] =>
    guarded(() => prepare(sql).all(...values) as Row[])
  const run = <Row>(sql: string, values: readonly SqlValue[] = []): readonly Row[] =>
    database.isTransaction ? runNow(sql, values) : observed(observer, sql, () => runNow(sql, values))
  const exec = (sql: string): void => guarded(() => database.exec(sql))
  const transaction = <T>(work: () => T): T => observed(observer, undefined, () => transact(database, work))
  return {
    dialect: 'sqlite',
    file,
    run,
    transaction,
    lightTransaction(work) {
      // In WAL mode, NORMAL can lose the last commits but never their order: https://sqlite.org/pragma.html
      exec('pragma synchronous=NORMAL')
      try {
        return transaction(work)
      } finally {
        exec('pragma synchronous=FULL')
      }
    },
    async query(sql, values) {
      return run(sql, values)
    },
    async change<Row>(sql: string, values?: readonly SqlValue[], then?: (rows: readonly SqlRow[]) => Steps) {
      if (then === undefined) return run<Row>(sql, values)
      return transaction(() => {
        const rows = run<SqlRow>(sql, values)
        const steps = then(rows)
        for (let step = steps.next(); step.done !== true; ) step = steps.next(run(step.value.sql, step.value.values))
        return rows as readonly Row[]
      })
    },
    finder<Row>({ table, columns, key }: KeyedRows) {
      const sql = `SELECT ${columns} FROM ${table} WHERE ${key} = $1`
      return async (value: string) => run<Row>(sql, [value])[0]
    },
    async exclusively(work) {
      exec('BEGIN IMMEDIATE')
      try {
        const result = await work({ query: async (sql, values) => run(sql, values), script: async (sql) => exec(sql) })
        exec('COMMIT')
        return result
      } catch (error) {
        rollBack(database)
        throw error
      }
    },
    async close() {
      statements.clear()
      database.close()
    }
  }
}

/** A full disk, a lock held too long or a missing file means that the store is down; other errors are bugs. */
function guarded<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (/syntax error|no such (table|column)|constraint failed/i.test(message)) throw error
    throw new KeyturnError('STORE_DOWN', {
      detail: `the embedded database (${code ?? 'error'}): ${message}`,
      retryAfter: 1,
      cause: error
    })
  }
}

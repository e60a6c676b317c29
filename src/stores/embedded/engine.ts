import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite'
import { KeyturnError } from '../../errors.ts'
import type { KeyedRows, SqlDatabase, SqlRow, SqlValue } from '../sql/connection.ts'

/** One SQLite file that the processes of this host share. Its calls block, so statements are short and by key. */
export interface EmbeddedEngine extends SqlDatabase {
  readonly file: string
  /** The rows of one statement with $1, $2 … as its values, at once. */
  run<Row = SqlRow>(sql: string, values?: readonly SqlValue[]): readonly Row[]
  /** Runs `work` in one write transaction, before any other process may write. */
  transaction<T>(work: () => T): T
  /**
   * The same for what may be lost when the host loses its power: it is not waited for the disk, which is most of the time that
   * a write takes. Everything before and after it is kept as ever.
   */
  lightTransaction<T>(work: () => T): T
}

/**
 * Opens DATA_DIR/keyturn.db, readable by its owner only, in WAL mode with every commit flushed (synchronous=FULL).
 * Throws KeyturnError STORE_DOWN when the folder or the file cannot be written.
 */
export function openEmbedded(dataDir: string): EmbeddedEngine {
  const file = join(dataDir, 'keyturn.db')
  return guarded(() => {
    makeFolder(dataDir)
    const database = new DatabaseSync(file)
    chmodSync(file, 0o600)
    database.exec(`pragma busy_timeout=${patience}`)
    switchToWal(database)
    for (const pragma of ['synchronous=FULL', 'foreign_keys=on']) database.exec(`pragma ${pragma}`)
    return makeEngine(file, database)
  })
}

/** Not by `recursive`, which never returns where the system allows no folder, as below /proc (Node 20 to 26). */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return
  if (dirname(folder) !== folder) makeFolder(dirname(folder))
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process has made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** How long a process waits for another one that writes, in milliseconds. */
const patience = 5000

/**
 * Of several processes that switch a new file to WAL at once, SQLite lets all but one fail without waiting: two that wait for each
 * other would wait for ever. So the waiting is done here, between tries.
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

function makeEngine(file: string, database: DatabaseSyncInstance): EmbeddedEngine {
  const statements = new Map<string, StatementSyncInstance>()
  const prepare = (sql: string): StatementSyncInstance => prepareOnce(database, statements, sql)
  const run = <Row>(sql: string, values: readonly SqlValue[] = []): readonly Row[] =>
    guarded(() => prepare(sql).all(...values) as Row[])
  const exec = (sql: string): void => guarded(() => database.exec(sql))
  // A full disk, among others, has ended the transaction already: to end it again would hide that error behind another.
  const rollBack = (): void => {
    if (database.isTransaction) database.exec('ROLLBACK')
  }
  const transaction = <T>(work: () => T): T => {
    exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      exec('COMMIT')
      return result
    } catch (error) {
      rollBack()
      throw error
    }
  }
  return {
    dialect: 'sqlite',
    file,
    run,
    transaction,
    lightTransaction(work) {
      // In WAL mode NORMAL loses the last commits at worst, and never the order of them: https://sqlite.org/pragma.html
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
        rollBack()
        throw error
      }
    },
    async close() {
      statements.clear()
      database.close()
    }
  }
}

/** A full disk, a lock held too long or a file gone is a store that is down; faulty SQL stays a defect. */
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

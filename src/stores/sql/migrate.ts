import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SqlDatabase, SqlQueries } from './connection.ts'

/** The sources are read where they are, through package.json's `imports`: nothing has to be copied into dist. */
const folder = fileURLToPath(new URL('.', import.meta.resolve('#migrations/001.do.start.sql')))

/**
 * Applies all pending migrations or none, and returns their file names. Safe to run again, and concurrently: processes take
 * turns. Throws KeyturnError STORE_DOWN, and Error if the file of an applied migration has changed.
 */
export async function migrate(db: SqlDatabase): Promise<readonly string[]> {
  const { default: Postgrator } = await import('postgrator')
  // PostgreSQL requires the right to create tables even for a table that exists, and an account may have only those of the service.
  const isFirst = (await newestApplied(db)) === 0
  return await db.exclusively(async ({ query, script }) => {
    // Postgrator would create this table itself, but in PostgreSQL it searches all schemas for it, not only ours.
    if (isFirst)
      await script(
        'CREATE TABLE IF NOT EXISTS keyturn_migrations (version BIGINT PRIMARY KEY, name TEXT, md5 TEXT, run_at TEXT)'
      )
    const postgrator = new Postgrator({
      driver: db.dialect === 'postgres' ? 'pg' : 'sqlite3',
      migrationPattern: `${folder}*.sql`,
      schemaTable: 'keyturn_migrations',
      newline: 'LF',
      execQuery: async (sql) => ({ rows: [...(await query(sql))] }),
      execSqlScript: script
    })
    const applied = await postgrator.migrate()
    return applied.map((migration) => basename(migration.filename))
  })
}

/** The number of pending migrations. Throws KeyturnError STORE_DOWN. */
export async function pendingMigrations(db: SqlQueries): Promise<number> {
  const newest = await newestApplied(db)
  const files = await readdir(folder)
  return files.filter((file) => /^\d+\.do\..*\.sql$/.test(file) && Number.parseInt(file, 10) > newest).length
}

async function newestApplied(db: SqlQueries): Promise<number> {
  try {
    const [row] = await db.query<{ version: number | null }>('SELECT MAX(version) AS version FROM keyturn_migrations')
    return row?.version ?? 0
  } catch (error) {
    if (isNoSuchTable(error as Error) || isNoSuchTable((error as Error).cause as Error | undefined)) return 0
    throw error
  }
}

/** SQLSTATE 42P01 is PostgreSQL's undefined_table, the cause of a STORE_DOWN; SQLite only has a message. */
const isNoSuchTable = (error: (Error & { readonly code?: string }) | undefined): boolean =>
  error !== undefined && (error.code === '42P01' || error.message.includes('no such table'))

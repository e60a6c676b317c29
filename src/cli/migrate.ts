import { loadConfig } from '../config/load.ts'
import { openDatabase } from '../stores/open.ts'
import { migrate } from '../stores/sql/migrate.ts'
import { print } from './terminal.ts'

/** `keyturn migrate`: applies the pending migrations to the configured database. */
export async function migrateDatabase(): Promise<void> {
  const database = await openDatabase(loadConfig(process.env))
  try {
    const applied = await migrate(database)
    for (const name of applied) print(`Applied ${name}`)
    if (applied.length === 0) print('The database is up to date.')
  } finally {
    await database.close()
  }
}

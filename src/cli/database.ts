import type { Config } from '../config/settings.ts'
import type { KeyringOptions } from '../keys/keyring.ts'
import { keySecret, openDatabase } from '../stores/open.ts'
import type { SqlDatabase } from '../stores/sql/connection.ts'
import { makeKeyStore } from '../stores/sql/keys.ts'
import { migrate, pendingMigrations } from '../stores/sql/migrate.ts'
import { systemClock } from '../time.ts'
import { Refusal } from './terminal.ts'

/** Opens the database for `work` and closes it afterwards. Throws Refusal if its tables are not those of this version. */
export async function withDatabase<T>(config: Config, work: (database: SqlDatabase) => Promise<T>): Promise<T> {
  const database = await openDatabase(config)
  try {
    await bringUpToDate(database)
    return await work(database)
  } finally {
    await database.close()
  }
}

/** The stored keys and the secrets that decrypt them. */
export const keyringOptions = (config: Config, database: SqlDatabase): KeyringOptions => ({
  store: makeKeyStore(database),
  secret: keySecret(config),
  previousSecret: config.keyEncryptionSecretPrevious,
  clock: systemClock
})

/** Every process that opens the embedded file migrates it; only `migrate` migrates a shared database. */
async function bringUpToDate(database: SqlDatabase): Promise<void> {
  if ((await pendingMigrations(database)) === 0) return
  if (database.dialect === 'postgres')
    throw new Refusal('The tables of this database are missing or outdated. Run: keyturn migrate')
  await migrate(database)
}

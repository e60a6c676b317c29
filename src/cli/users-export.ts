import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { printableText } from '../printable.ts'
import { openUsers } from '../stores/open.ts'
import { systemClock } from '../time.ts'
import { type ExportFormat, exportText } from '../users/export.ts'
import { withDatabase } from './database.ts'
import { openRecord } from './record.ts'
import { say } from './terminal.ts'
import { userPages } from './users.ts'

/**
 * `keyturn users export`: all users by name, with their digests, for `users import` to read again. With USERS_TABLE those of
 * Django. Whatever USER_ID_FIELD says, the id is the id.
 */
export async function exportUsers({ format }: { readonly format: ExportFormat }): Promise<void> {
  const config: Config = { ...loadConfig(process.env), userIdField: 'id' }
  await withDatabase(config, async (database) => {
    const users = await openUsers(config, database, systemClock)
    // Before the first digest is out, however far this gets.
    await (await openRecord(config, database))('users_export')
    say('This export holds password digests: keep it as you keep a backup of the database.')
    // At the pace of whoever reads it, and standard output stays open.
    const text = Readable.from(exportText(userPages(users), format))
    // A file gets the names as they are; on a terminal they must not be acted on.
    const shown = process.stdout.isTTY ? text.map((part) => printableText(String(part))) : text
    await pipeline(shown, process.stdout, { end: false })
  })
}

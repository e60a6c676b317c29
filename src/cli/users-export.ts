import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { printableText } from '../printable.ts'
import { openUsers } from '../stores/open.ts'
import { systemClock } from '../time.ts'
import { type ExportFormat, exportText } from '../users/export.ts'
import { withDatabase } from './database.ts'
import { openRecordAct, operator } from './record.ts'
import { say } from './terminal.ts'
import { userPages } from './users.ts'

/**
 * `keyturn users export`: all users by name, with their digests, in a form that `users import` reads. With USERS_TABLE, the
 * users of Django. The id is the id of the row, whatever USER_ID_FIELD is.
 */
export async function exportUsers({ format }: { readonly format: ExportFormat }): Promise<void> {
  const config: Config = { ...loadConfig(process.env), userIdField: 'id' }
  await withDatabase(config, async (database) => {
    const { users } = await openUsers(config, database, systemClock)
    // Recorded before the first digest is printed.
    await (await openRecordAct(config, database))('users_export', operator)
    say('This export contains password digests: protect it like a backup of the database.')
    // At the reader's pace, and standard output stays open.
    const text = Readable.from(exportText(userPages(users), format))
    // A file gets the names unchanged; on a terminal, control characters in them must have no effect.
    const shown = process.stdout.isTTY ? text.map((part) => printableText(String(part))) : text
    await pipeline(shown, process.stdout, { end: false })
  })
}

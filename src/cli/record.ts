import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { type AuditTrail, makeAuditTrail } from '../audit/trail.ts'
import type { Config } from '../config/settings.ts'
import {
  type Actor,
  makeRecordAct,
  makeUsersForAct,
  type RecordAct,
  type UsersForAct
} from '../flows/management/act.ts'
import { openAuditSecret } from '../keys/keyring.ts'
import type { Stores } from '../stores/open.ts'
import { makeAuditStore } from '../stores/sql/audit.ts'
import type { SqlDatabase } from '../stores/sql/connection.ts'
import { systemClock } from '../time.ts'
import { keyringOptions } from './database.ts'

/**
 * The name of the user who runs this command: `root`, or `uid 12345` where the system has no name for it, as in a container that
 * runs under any user id.
 */
export function userName(read: () => { readonly username: string } = userInfo): string {
  try {
    return read().username
  } catch {
    return `uid ${process.getuid?.()}`
  }
}

/** The operator who runs this command; its scopes are those of an operator with access to the database: all. */
export const operator: Actor = {
  actor: `${userName()}@${hostname()}`,
  ip: '',
  requestId: randomUUID(),
  scopes: undefined
}

/**
 * Opened before the command changes anything, so that an act that cannot be recorded does not happen. Throws ConfigError if
 * KEY_ENCRYPTION_SECRET does not decrypt the keys.
 */
export const openRecordAct = async (config: Config, database: SqlDatabase): Promise<RecordAct> =>
  makeRecordAct(await openTrail(config, database), systemClock)

/** The same for acts that change users. */
export async function openUsersForAct(
  config: Config,
  { database, usersWith }: Pick<Stores, 'database' | 'usersWith'>
): Promise<UsersForAct> {
  const trail = await openTrail(config, database)
  return makeUsersForAct((event) => usersWith(trail.entryOf(event)), systemClock)
}

const openTrail = async (config: Config, database: SqlDatabase): Promise<AuditTrail> =>
  makeAuditTrail(makeAuditStore(database), await auditSecret(config, database))

/** The secret that chains the trail. Throws as openRecordAct does. */
export const auditSecret = (config: Config, database: SqlDatabase): Promise<Buffer> =>
  openAuditSecret(keyringOptions(config, database))

import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import type { ActName, AuditEvent } from '../audit/event.ts'
import { makeAuditTrail } from '../audit/trail.ts'
import type { Config } from '../config/settings.ts'
import { openAuditSecret } from '../keys/keyring.ts'
import { makeAuditStore } from '../stores/sql/audit.ts'
import type { SqlDatabase } from '../stores/sql/connection.ts'
import { systemClock } from '../time.ts'
import { keyringOptions } from './database.ts'

/** Writes an act of this command to the audit trail. Throws KeyturnError STORE_DOWN. */
export type Record = (event: ActName, on?: Pick<AuditEvent, 'userId' | 'sid' | 'object'>) => Promise<void>

/**
 * Opened before the command changes anything, so that an act that cannot be recorded does not happen. Throws ConfigError if
 * KEY_ENCRYPTION_SECRET does not decrypt the keys.
 */
export async function openRecord(config: Config, database: SqlDatabase): Promise<Record> {
  const trail = makeAuditTrail(makeAuditStore(database), await auditSecret(config, database))
  const by = { actor: `${userInfo().username}@${hostname()}`, ip: '', requestId: randomUUID(), result: 'ok' }
  return (event, on = {}) => trail.record({ event, at: systemClock(), ...by, ...on })
}

/** The secret that chains the trail. Throws as openRecord does. */
export const auditSecret = (config: Config, database: SqlDatabase): Promise<Buffer> =>
  openAuditSecret(keyringOptions(config, database))

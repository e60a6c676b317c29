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

/** Writes into the audit trail what this run of a command has done. Throws KeyturnError STORE_DOWN. */
export type Record = (event: ActName, on?: Pick<AuditEvent, 'userId' | 'sid' | 'object'>) => Promise<void>

/**
 * To be opened before anything is done, so that what cannot be recorded is not done. Throws ConfigError when
 * KEY_ENCRYPTION_SECRET does not open the keys.
 */
export async function openRecord(config: Config, database: SqlDatabase): Promise<Record> {
  const trail = makeAuditTrail(makeAuditStore(database), await auditSecret(config, database))
  const by = { actor: `${userInfo().username}@${hostname()}`, ip: '', requestId: randomUUID(), result: 'ok' }
  return (event, on = {}) => trail.record({ event, at: systemClock(), ...by, ...on })
}

/** The secret that chains the trail. Throws as openRecord does. */
export const auditSecret = (config: Config, database: SqlDatabase): Promise<Buffer> =>
  openAuditSecret(keyringOptions(config, database))

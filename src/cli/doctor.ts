import { createVerifier } from 'fast-jwt'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { checkSigningKey, importSigningKey } from '../keys/import.ts'
import { readDigest } from '../passwords/digest.ts'
import { openDatabase, openDjangoTable } from '../stores/open.ts'
import type { SqlDatabase } from '../stores/sql/connection.ts'
import { inspectOutstanding, inspectUsers, type UsersInspection } from '../stores/sql/django-inspection.ts'
import { hasTable } from '../stores/sql/django-table.ts'
import { pendingMigrations } from '../stores/sql/migrate.ts'
import { missingRights, readOnlyReason } from '../stores/sql/rights.ts'
import { missingSchema } from '../stores/sql/schemas.ts'
import { systemClock } from '../time.ts'
import { explainAdoption } from '../tokens/adoption.ts'
import { print, Refusal } from './terminal.ts'

/** `ok` works, `note` is worth knowing, `error` has to be fixed. */
type Finding = readonly [kind: 'ok' | 'note' | 'error', message: string]

/**
 * `keyturn doctor`: checks a Django project's database without writing, and reports what works with this
 * configuration, one line per finding. Throws Refusal if something has to be fixed.
 */
export async function doctor(): Promise<void> {
  const config = loadConfig(process.env, checkSigningKey)
  if (config.databaseUrl === undefined) {
    throw new Refusal(
      'DATABASE_URL is not set: it has to name the database of the Django project. Use check-config without Django.'
    )
  }
  const database = await openDatabase(config)
  try {
    // Without the privileges, the other checks could not read the tables.
    const missing = await examineRights(config, database)
    const findings =
      missing.length > 0
        ? missing
        : [
            await examineTables(database),
            ...(await examineUsers(config, database)),
            ...(await examineTokens(config, database))
          ]
    for (const [kind, message] of findings) print(`${kind.padEnd(5)}  ${message}`)
    const errors = findings.filter(([kind]) => kind === 'error').length
    if (errors > 0)
      throw new Refusal(errors === 1 ? '1 problem has to be fixed.' : `${errors} problems have to be fixed.`)
  } finally {
    await database.close()
  }
}

async function examineTables(database: SqlDatabase): Promise<Finding> {
  return (await pendingMigrations(database)) === 0
    ? ['ok', 'Keyturn’s own tables exist (keyturn_*), alongside those of Django.']
    : ['error', 'Keyturn’s own tables are missing or outdated. Run: keyturn migrate']
}

async function examineRights(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const readOnly = await readOnlyReason(database)
  if (readOnly !== undefined) return [['error', `PostgreSQL cannot be written. ${readOnly}`]]
  const noSchema = await missingSchema(database)
  if (noSchema !== undefined) return [['error', `PostgreSQL has no schema for the tables. ${noSchema}`]]
  const missing = await missingRights(database, await openDjangoTable(config, database))
  return missing.map((grant) => ['error', `A privilege is missing. Run: ${grant}`])
}

async function examineUsers(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const table = await openDjangoTable(config, database)
  if (table === undefined) {
    return (await hasTable(database, 'auth_user'))
      ? [
          [
            'note',
            'Django’s table auth_user exists. USERS_TABLE=auth_user would use it in place; users import would copy it.'
          ]
        ]
      : [
          [
            'note',
            'USERS_TABLE is not set and the table auth_user does not exist: Keyturn uses its own table of users.'
          ]
        ]
  }
  const { users, inactive, unreachable, digests } = await inspectUsers(database, table)
  const unusable = `${unreachable} usernames begin or end with white space, or have more than 254 characters; these users cannot log in.`
  return [
    ['ok', `${config.usersTable} has ${users} users, ${inactive} of them inactive.`],
    ...(unreachable > 0 ? [['note', unusable] as const] : []),
    ...digests.map(judgeDigests)
  ]
}

function judgeDigests({ form, count, example }: UsersInspection['digests'][number]): Finding {
  if (form === '!') return ['note', `${count} users have no usable password and cannot log in.`]
  if (readDigest(example) !== undefined) return ['ok', `${count} passwords are ${form}, which Keyturn verifies.`]
  return ['error', `${count} passwords have a format that Keyturn cannot verify (${form.slice(0, 40) || 'empty'}).`]
}

/** Whether users whom Simple JWT logged in stay logged in. */
async function examineTokens(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const { isOn, explanation } = explainAdoption(config, systemClock())
  if (!isOn) return [['note', `${explanation}. Users whom Simple JWT logged in have to log in again.`]]
  return [['note', `${explanation}.`], ...(await examineOutstanding(config, database))]
}

async function examineOutstanding(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const outstanding = await inspectOutstanding(database)
  if (outstanding === undefined) {
    return [
      [
        'note',
        'Simple JWT’s blacklist app is not installed: doctor cannot check whether SIGNING_KEY is Django’s key, and Keyturn cannot recognise tokens that were blacklisted elsewhere.'
      ]
    ]
  }
  if (outstanding.newest === undefined)
    return [['note', 'All refresh tokens of Simple JWT have expired: none is left to adopt.']]
  return isOurs(config, outstanding.newest)
    ? [
        [
          'ok',
          `SIGNING_KEY is Django’s signing key: ${outstanding.count} refresh tokens stay valid, each for one refresh.`
        ]
      ]
    : [
        [
          'error',
          'Django’s newest refresh token does not verify with SIGNING_KEY and ALGORITHM: all users would have to log in again.'
        ]
      ]
}

function isOurs(config: Config, token: string): boolean {
  const key = importSigningKey(config)
  if (key === undefined) return false
  const verify = createVerifier({
    key: key.secretBytes ?? key.publicText,
    algorithms: [key.algorithm],
    ignoreExpiration: true,
    ignoreNotBefore: true
  })
  try {
    verify(token)
    return true
  } catch {
    return false
  }
}

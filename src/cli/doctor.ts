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
import { missingRights } from '../stores/sql/rights.ts'
import { systemClock } from '../time.ts'
import { explainAdoption } from '../tokens/adoption.ts'
import { print, Refusal } from './terminal.ts'

/** `good` works, `note` is worth knowing, `wrong` has to be mended. */
type Finding = readonly [kind: 'good' | 'note' | 'wrong', words: string]

/**
 * `keyturn doctor`: looks at a Django project's database, writes nothing, and says what would work with this
 * configuration, a line a finding. Throws Refusal when something has to be mended.
 */
export async function doctor(): Promise<void> {
  const config = loadConfig(process.env, checkSigningKey)
  if (config.databaseUrl === undefined) {
    throw new Refusal(
      'DATABASE_URL is not set: there is no database of Django to look at. check-config looks at the rest.'
    )
  }
  const database = await openDatabase(config)
  try {
    const findings = [
      await examineTables(database),
      ...(await examineRights(config, database)),
      ...(await examineUsers(config, database)),
      ...(await examineTokens(config, database))
    ]
    for (const [kind, words] of findings) print(`${kind.padEnd(5)}  ${words}`)
    const wrong = findings.filter(([kind]) => kind === 'wrong').length
    if (wrong > 0) throw new Refusal(wrong === 1 ? 'One thing has to be mended.' : `${wrong} things have to be mended.`)
  } finally {
    await database.close()
  }
}

async function examineTables(database: SqlDatabase): Promise<Finding> {
  return (await pendingMigrations(database)) === 0
    ? ['good', 'Keyturn’s own tables are there (keyturn_*), beside those of Django.']
    : ['wrong', 'Keyturn’s own tables are missing or old. Run: keyturn migrate']
}

async function examineRights(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const missing = await missingRights(database, await openDjangoTable(config, database))
  return missing.map((grant) => ['wrong', `A right is missing. Run: ${grant}`])
}

async function examineUsers(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const table = await openDjangoTable(config, database)
  if (table === undefined) {
    return (await hasTable(database, 'auth_user'))
      ? [
          [
            'note',
            'There is Django’s table auth_user. USERS_TABLE=auth_user would use it as it is; users import would copy it.'
          ]
        ]
      : [['note', 'USERS_TABLE is not set, and there is no table auth_user: users are Keyturn’s own.']]
  }
  const { users, inactive, unreachable, digests } = await inspectUsers(database, table)
  const strange = `${unreachable} usernames begin or end with white space, or have more than 254 characters: they cannot log in.`
  return [
    ['good', `${config.usersTable} has ${users} users, ${inactive} of them inactive.`],
    ...(unreachable > 0 ? [['note', strange] as const] : []),
    ...digests.map(judgeDigests)
  ]
}

function judgeDigests({ form, count, example }: UsersInspection['digests'][number]): Finding {
  if (form === '!') return ['note', `${count} users have no usable password, and cannot log in with one.`]
  if (readDigest(example) !== undefined) return ['good', `${count} passwords are ${form}: they work.`]
  return ['wrong', `${count} passwords are of a form that Keyturn cannot verify (${form.slice(0, 40) || 'empty'}).`]
}

/** Whether users who are logged in by Simple JWT stay logged in. */
async function examineTokens(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const { isOn, sentence } = explainAdoption(config, systemClock())
  if (!isOn) return [['note', `${sentence} Users who are logged in by Simple JWT have to log in again.`]]
  return [['note', sentence], ...(await examineOutstanding(config, database))]
}

async function examineOutstanding(config: Config, database: SqlDatabase): Promise<Finding[]> {
  const outstanding = await inspectOutstanding(database)
  if (outstanding === undefined) {
    return [
      [
        'note',
        'Simple JWT’s blacklist app is not installed: whether SIGNING_KEY is Django’s cannot be seen here, and a token that was blacklisted elsewhere is not known.'
      ]
    ]
  }
  if (outstanding.newest === undefined)
    return [['note', 'No refresh token of Simple JWT is alive: there is none to adopt.']]
  return isOurs(config, outstanding.newest)
    ? [
        [
          'good',
          `SIGNING_KEY is the one Django signs with: ${outstanding.count} refresh tokens go on working, each once.`
        ]
      ]
    : [
        [
          'wrong',
          'The newest refresh token of Django is not signed with SIGNING_KEY by ALGORITHM: all users would have to log in again.'
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

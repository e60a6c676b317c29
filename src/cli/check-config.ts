import { describeConfig } from '../config/describe.ts'
import { loadConfig } from '../config/load.ts'
import { parseRedisUrl } from '../config/redis-address.ts'
import type { Config } from '../config/settings.ts'
import { explain } from '../errors.ts'
import { loadHooksModule } from '../flows/hooks-module.ts'
import { checkSigningKey } from '../keys/import.ts'
import { openDatabase, openDjangoTable } from '../stores/open.ts'
import { pendingMigrations } from '../stores/sql/migrate.ts'
import { missingRights, readOnlyReason } from '../stores/sql/rights.ts'
import { missingSchema } from '../stores/sql/schemas.ts'
import { systemClock } from '../time.ts'
import { explainAdoption } from '../tokens/adoption.ts'
import { print, printLines, Refusal, say } from './terminal.ts'
import { warningsOf } from './warnings.ts'

/**
 * `keyturn check-config`: reports every invalid setting, loads the hooks as a worker would, then reports whether each store is
 * reachable, one line each. Leaves nothing behind: embedded data is reported, not opened. Throws ConfigError, and Refusal if a store
 * cannot be used.
 */
export async function checkConfig({ print: isShown }: { readonly print?: boolean }): Promise<void> {
  const config = loadConfig(process.env, checkSigningKey)
  for (const line of warningsOf(config)) say(`Warning: ${line}.`)
  if (isShown === true) printLines(describeConfig(config))
  await loadHooksModule(config)
  print('Configuration is valid.')
  const areUsable = [
    await probe('Users and keys', () => checkDatabase(config)),
    await probe('Sessions', () => checkRedis(config))
  ]
  const adoption = explainAdoption(config, systemClock())
  if (!adoption.isOn && (config.signingKey !== undefined || config.adoptRefreshTokens !== null))
    print(`${adoption.explanation}.`)
  if (areUsable.includes(false)) throw new Refusal('Not all stores can be used.')
}

/** Prints the result of `check`, or the message of its error. */
async function probe(what: string, check: () => Promise<string>): Promise<boolean> {
  try {
    print(`${what}: ${await check()}`)
    return true
  } catch (error) {
    const reason = explain(error)
    if (reason === undefined) throw error
    print(`${what}: ${reason.message}`)
    return false
  }
}

async function checkDatabase(config: Config): Promise<string> {
  if (config.databaseUrl === undefined) return `embedded in ${config.dataDir}, since DATABASE_URL is not set.`
  const database = await openDatabase(config)
  try {
    const readOnly = await readOnlyReason(database)
    if (readOnly !== undefined) throw new Refusal(`PostgreSQL responds, but cannot be written. ${readOnly}`)
    const noSchema = await missingSchema(database)
    if (noSchema !== undefined) throw new Refusal(`PostgreSQL responds, but has no schema for the tables. ${noSchema}`)
    const missing = await missingRights(database, await openDjangoTable(config, database))
    if (missing.length > 0)
      throw new Refusal(`PostgreSQL responds, but privileges are missing. Run: ${missing.join('; ')}`)
    if ((await pendingMigrations(database)) > 0)
      throw new Refusal('PostgreSQL responds, but its tables are missing or outdated. Run: keyturn migrate')
    return 'PostgreSQL responds; its tables are up to date.'
  } finally {
    await database.close()
  }
}

async function checkRedis(config: Config): Promise<string> {
  if (config.redisUrl === undefined) return `embedded in ${config.dataDir}, since REDIS_URL is not set.`
  const { evictionWarning, openRedis } = await import('../stores/redis/client.ts')
  const { missingCommands } = await import('../stores/redis/rights.ts')
  const { stateFault } = await import('../stores/redis/state.ts')
  const redis = await openRedis(config.redisUrl, { verifyTls: config.redisTlsVerify })
  try {
    const warning = await evictionWarning(redis)
    if (warning !== undefined) say(`Warning: ${warning}.`)
    const missing = await missingCommands(redis, parseRedisUrl(config.redisUrl).username)
    if (missing !== undefined) throw new Refusal(`Redis responds, but permissions are missing. Run: ${missing}`)
    const fault = await stateFault(redis)
    if (fault !== undefined) throw new Refusal(`Redis responds, but cannot be used. ${fault}`)
    return 'Redis responds.'
  } finally {
    redis.disconnect()
  }
}

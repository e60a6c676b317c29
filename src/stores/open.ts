import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditStore } from '../audit/store.ts'
import type { ClientStore } from '../clients/store.ts'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import type { KeyStore } from '../keys/store.ts'
import type { Counters } from '../limits/counters.ts'
import type { GuessStore } from '../passwords/guessing.ts'
import type { SessionPolicy } from '../sessions/session.ts'
import type { RevocationFeed, SessionStore } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import type { ForeignBlacklist } from '../tokens/refresh.ts'
import type { UserStore } from '../users/store.ts'
import type { CircuitReport } from './circuit.ts'
import type { EmbeddedEngine } from './embedded/engine.ts'
import { StoreError } from './error.ts'
import { makeAuditStore } from './sql/audit.ts'
import { makeClientStore } from './sql/clients.ts'
import type { SqlDatabase } from './sql/connection.ts'
import { type DjangoTable, readDjangoTable } from './sql/django-table.ts'
import { makeDjangoUsers } from './sql/django-users.ts'
import { openForeignBlacklist } from './sql/foreign-blacklist.ts'
import { makeKeyStore } from './sql/keys.ts'
import { migrate, pendingMigrations } from './sql/migrate.ts'
import { makeUserStore } from './sql/users.ts'

/** Everything that is kept outside the process. */
export interface Stores {
  readonly database: SqlDatabase
  readonly users: UserStore
  readonly keys: KeyStore
  readonly clients: ClientStore
  readonly audit: AuditStore
  readonly sessions: SessionStore
  /** What Simple JWT has revoked itself, in the same database. */
  readonly foreignBlacklist: ForeignBlacklist
  readonly feed: RevocationFeed
  /** What all processes count together; undefined where nothing is fast enough for it. */
  readonly counters: Counters | undefined
  readonly guesses: GuessStore
  /** What seals the keys at rest. */
  readonly keySecret: string
  /** What the operator should know about a store that is in use, for the log. */
  readonly warnings: readonly string[]
  /** Which stores answer. */
  check(): Promise<Readonly<Record<'database' | 'sessions', 'up' | 'down'>>>
  close(): Promise<void>
}

/**
 * Opens the stores that the configuration asks for: PostgreSQL and Redis where a URL is given, otherwise one embedded file,
 * which is brought up to date here. `report` learns how the circuits in front of them change. Throws StoreError naming the
 * variable when a store cannot be reached or is not migrated.
 */
export async function openStores(config: Config, clock: Clock, report?: CircuitReport): Promise<Stores> {
  const [database, redis] = await openEngines(config, report)
  try {
    const { sessions, feed, counters, guesses } = redis ?? (await openInFile(config, database, clock))
    return {
      database,
      users: await openUsers(config, database, clock),
      keys: makeKeyStore(database),
      clients: makeClientStore(database, clock),
      audit: makeAuditStore(database),
      sessions,
      foreignBlacklist: await openForeignBlacklist(database),
      feed,
      counters,
      guesses,
      keySecret: keySecret(config),
      warnings: redis?.warnings ?? [],
      async check() {
        const state = (answer: Promise<unknown>) =>
          answer.then(
            () => 'up' as const,
            () => 'down' as const
          )
        const [databaseState, sessionsState] = await Promise.all([
          state(database.query('SELECT 1')),
          state(sessions.ping())
        ])
        return { database: databaseState, sessions: sessionsState }
      },
      async close() {
        await sessions.close()
        await database.close()
      }
    }
  } catch (error) {
    await redis?.sessions.close()
    await database.close()
    throw error
  }
}

/**
 * Both at once: while the one is waited for, the modules of the other are loaded. When one cannot be used, the other is
 * closed again.
 */
async function openEngines(
  config: Config,
  report: CircuitReport | undefined
): Promise<readonly [SqlDatabase, Awaited<ReturnType<typeof openInRedis>>]> {
  const [database, redis] = await Promise.allSettled([openMigrated(config, report), openInRedis(config, report)])
  if (database.status === 'fulfilled' && redis.status === 'fulfilled') return [database.value, redis.value]
  if (database.status === 'fulfilled') await database.value.close()
  if (redis.status === 'fulfilled') await redis.value?.sessions.close()
  throw database.status === 'rejected' ? database.reason : (redis as PromiseRejectedResult).reason
}

/** PostgreSQL when DATABASE_URL is set, otherwise the embedded file. Throws StoreError when it cannot be reached. */
export async function openDatabase(config: Config, report?: CircuitReport): Promise<SqlDatabase> {
  const variable = config.databaseUrl === undefined ? 'DATA_DIR' : 'DATABASE_URL'
  return reached(variable, async () => {
    const database =
      config.databaseUrl === undefined ? await openFile(config) : await openServer(config.databaseUrl, config, report)
    try {
      await database.query('SELECT 1')
      return database
    } catch (error) {
      await database.close()
      throw error
    }
  })
}

// Engines are loaded where they are used: each is a twentieth to a tenth of a second of a start.
const openFile = async ({ dataDir }: Config): Promise<EmbeddedEngine> =>
  (await import('./embedded/engine.ts')).openEmbedded(dataDir)

const openServer = async (
  url: string,
  { pgsslmode: sslmode, databasePool: pool }: Config,
  report: CircuitReport | undefined
): Promise<SqlDatabase> => (await import('./sql/postgres.ts')).openPostgres(url, { sslmode, pool, report })

/** Users in Keyturn's own table, or in Django's. Throws StoreError when that is not there or lacks a column. */
export async function openUsers(config: Config, database: SqlDatabase, clock: Clock): Promise<UserStore> {
  const table = await openDjangoTable(config, database)
  return table === undefined
    ? makeUserStore(database, clock, config.userIdField)
    : makeDjangoUsers(database, table, config.userIdField)
}

/** Where Django keeps its users, when USERS_TABLE says so. Throws StoreError when that is not there or lacks a column. */
export async function openDjangoTable(
  { usersTable, usersColumns }: Config,
  database: SqlDatabase
): Promise<DjangoTable | undefined> {
  if (usersTable === undefined) return undefined
  return await readDjangoTable(database, usersTable, Object.fromEntries(usersColumns.map((pair) => pair.split('='))))
}

async function openMigrated(config: Config, report: CircuitReport | undefined): Promise<SqlDatabase> {
  const database = await openDatabase(config, report)
  try {
    await bringUpToDate(database)
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

async function bringUpToDate(database: SqlDatabase): Promise<void> {
  if ((await pendingMigrations(database)) === 0) return
  if (database.dialect === 'postgres') {
    throw new StoreError(
      'DATABASE_URL: the tables of this database are missing or older than this version. Run: keyturn migrate'
    )
  }
  await migrate(database)
}

/**
 * How long a revocation matters, in whole seconds: as long as an access token made just before it can live, by a host whose
 * clock is up to a minute ahead.
 */
export const revocationWindow = ({ accessTokenLifetime, leeway }: Config): number => accessTokenLifetime + leeway + 60

type SessionStores = Pick<Stores, 'sessions' | 'feed' | 'counters' | 'guesses'>

/** How sessions live, by the settings. */
export const sessionPolicy = (config: Config): SessionPolicy => ({
  lifetime: config.refreshTokenLifetime,
  absoluteLifetime: config.sessionAbsoluteLifetime,
  grace: config.blacklistAfterRotation ? config.refreshReuseGrace : Number.POSITIVE_INFINITY,
  // Without a grace the operator wants strict single use, as Simple JWT has it.
  lateRetry: config.refreshReuseGrace === 0 ? 0 : Math.min(config.refreshLateRetry, config.refreshTokenLifetime),
  rotate: config.rotateRefreshTokens,
  maxPerUser: config.maxSessionsPerUser,
  adopts: config.adoptRefreshTokens !== null
})

/** Undefined without REDIS_URL. */
async function openInRedis(
  config: Config,
  report: CircuitReport | undefined
): Promise<(SessionStores & Pick<Stores, 'warnings'>) | undefined> {
  const { redisUrl, redisTlsVerify: verifyTls } = config
  if (redisUrl === undefined) return undefined
  const { openRedisStore } = await import('./redis/open.ts')
  return await reached('REDIS_URL', () =>
    openRedisStore(redisUrl, { verifyTls, policy: sessionPolicy(config), window: revocationWindow(config), report })
  )
}

async function openInFile(config: Config, database: SqlDatabase, clock: Clock): Promise<SessionStores> {
  const { openEmbeddedStore } = await import('./embedded/open.ts')
  const engine = isEmbedded(database) ? database : await openFile(config)
  const store = await openEmbeddedStore(engine, sessionPolicy(config), revocationWindow(config), clock)
  const sessions = engine === database ? store.sessions : { ...store.sessions, close: () => engine.close() }
  return { ...store, sessions, counters: undefined }
}

const isEmbedded = (database: SqlDatabase): database is EmbeddedEngine => database.dialect === 'sqlite'

/** What seals the keys at rest. Beside an embedded file it does not change when SIGNING_KEY comes or goes. */
export const keySecret = ({ keyEncryptionSecret, databaseUrl, signingKey, dataDir }: Config): string =>
  keyEncryptionSecret ?? (databaseUrl === undefined ? undefined : signingKey) ?? embeddedSecret(dataDir)

/** What seals the keys where nobody configured it: made at the first start, beside the embedded file, for its owner only. */
function embeddedSecret(dataDir: string): string {
  const file = join(dataDir, 'key-encryption-secret')
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  try {
    // A link appears with its whole content or not at all: of several processes that start at once, one wins.
    linkSync(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    unlinkSync(draft)
  }
  return embeddedSecret(dataDir)
}

/** A store that does not answer at the start is told with the variable that names it. */
async function reached<T>(variable: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new StoreError(
      `${variable}: cannot be used, ${describe(error)}. Is it running, and is the value right?`,
      error
    )
  }
}

function describe(error: unknown): string {
  const { detail, message, cause } = error as { detail?: string; message: string; cause?: { code?: string } }
  return (detail ?? cause?.code ?? message).replace(/\.$/, '')
}

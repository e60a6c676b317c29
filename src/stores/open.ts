import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditStore } from '../audit/store.ts'
import type { EntryAfter } from '../audit/trail.ts'
import type { ClientStore } from '../clients/store.ts'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import type { KeyStore } from '../keys/store.ts'
import type { Counters } from '../limits/counters.ts'
import type { OneTimeTokenStore } from '../one-time-tokens/store.ts'
import type { GuessStore } from '../passwords/guessing.ts'
import type { SessionPolicy } from '../sessions/session.ts'
import type { RevocationFeed, SessionStore } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import type { ForeignBlacklist } from '../tokens/refresh.ts'
import type { UserStore } from '../users/store.ts'
import type { StoreObserver } from './circuit.ts'
import type { EmbeddedEngine } from './embedded/engine.ts'
import { StoreError } from './error.ts'
import { makeAuditStore, withEntries } from './sql/audit.ts'
import { makeClientStore } from './sql/clients.ts'
import type { SqlDatabase } from './sql/connection.ts'
import { type DjangoTable, readDjangoTable } from './sql/django-table.ts'
import { makeDjangoUsers } from './sql/django-users.ts'
import { openForeignBlacklist } from './sql/foreign-blacklist.ts'
import { makeKeyStore } from './sql/keys.ts'
import { migrate, pendingMigrations } from './sql/migrate.ts'
import { makeOneTimeTokenStore } from './sql/one-time-tokens.ts'
import { makeUserStore } from './sql/users.ts'

/** All stores of the service. */
export interface Stores {
  readonly database: SqlDatabase
  readonly users: UserStore
  /** The same users; each change is committed together with its entry in the audit trail, or not at all. */
  readonly usersWith: (entryAfter: EntryAfter) => UserStore
  readonly keys: KeyStore
  readonly clients: ClientStore
  readonly oneTimeTokens: OneTimeTokenStore
  readonly audit: AuditStore
  readonly sessions: SessionStore
  /** Simple JWT's own blacklist in the same database. */
  readonly foreignBlacklist: ForeignBlacklist
  readonly feed: RevocationFeed
  /** Counters shared by all processes; undefined without Redis. */
  readonly counters: Counters | undefined
  readonly guesses: GuessStore
  /** The secret that encrypts stored keys. */
  readonly keySecret: string
  /** Warnings about the stores, for the log. */
  readonly warnings: readonly string[]
  /** Which stores respond. */
  check(): Promise<Readonly<Record<'database' | 'sessions', 'up' | 'down'>>>
  close(): Promise<void>
}

/**
 * Opens the configured stores: PostgreSQL and Redis if they have a URL, otherwise one embedded file, which is migrated here.
 * `observer` is notified of their calls and of the circuits in front of them. Throws StoreError naming the variable if a store
 * is unreachable or not migrated.
 */
export async function openStores(config: Config, clock: Clock, observer?: StoreObserver): Promise<Stores> {
  const [database, redis] = await openEngines(config, observer)
  try {
    const { sessions, feed, counters, guesses } = redis ?? (await openInFile(config, database, clock, observer))
    return {
      database,
      ...(await openUsers(config, database, clock)),
      keys: makeKeyStore(database),
      clients: makeClientStore(database, clock),
      oneTimeTokens: makeOneTimeTokenStore(database, clock),
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
 * Opens both concurrently, so that the modules of one load while the other connects. If one fails, the other is closed.
 */
async function openEngines(
  config: Config,
  observer: StoreObserver | undefined
): Promise<readonly [SqlDatabase, Awaited<ReturnType<typeof openInRedis>>]> {
  const [database, redis] = await Promise.allSettled([openMigrated(config, observer), openInRedis(config, observer)])
  if (database.status === 'fulfilled' && redis.status === 'fulfilled') return [database.value, redis.value]
  if (database.status === 'fulfilled') await database.value.close()
  if (redis.status === 'fulfilled') await redis.value?.sessions.close()
  throw database.status === 'rejected' ? database.reason : (redis as PromiseRejectedResult).reason
}

/** PostgreSQL if DATABASE_URL is set, otherwise the embedded file. Throws StoreError if it is unreachable. */
export async function openDatabase(config: Config, observer?: StoreObserver): Promise<SqlDatabase> {
  const variable = config.databaseUrl === undefined ? 'DATA_DIR' : 'DATABASE_URL'
  return reached(variable, async () => {
    const database =
      config.databaseUrl === undefined
        ? await openFile(config, observer)
        : await openServer(config.databaseUrl, config, observer)
    try {
      await database.query('SELECT 1')
      return database
    } catch (error) {
      await database.close()
      throw error
    }
  })
}

// Engines are loaded on demand, since each takes 50 to 100 ms of a start.
const openFile = async ({ dataDir }: Config, observer: StoreObserver | undefined): Promise<EmbeddedEngine> =>
  (await import('./embedded/engine.ts')).openEmbedded(dataDir, observer)

const openServer = async (
  url: string,
  { pgsslmode: sslmode, databasePool: pool }: Config,
  observer: StoreObserver | undefined
): Promise<SqlDatabase> => (await import('./sql/postgres.ts')).openPostgres(url, { sslmode, pool, observer })

/** Users in Keyturn's own table, or in Django's. Throws StoreError if that is missing or lacks a column. */
export async function openUsers(
  config: Config,
  database: SqlDatabase,
  clock: Clock
): Promise<Pick<Stores, 'users' | 'usersWith'>> {
  const table = await openDjangoTable(config, database)
  const { userIdField: key } = config
  const make = (db: SqlDatabase): UserStore =>
    table === undefined ? makeUserStore(db, clock, key) : makeDjangoUsers(db, table, key)
  return { users: make(database), usersWith: (entryAfter) => make(withEntries(database, entryAfter)) }
}

/** Django's table of users, if USERS_TABLE is set. Throws StoreError if it is missing or lacks a column. */
export async function openDjangoTable(
  { usersTable, usersColumns }: Config,
  database: SqlDatabase
): Promise<DjangoTable | undefined> {
  if (usersTable === undefined) return undefined
  return await readDjangoTable(database, usersTable, Object.fromEntries(usersColumns.map((pair) => pair.split('='))))
}

async function openMigrated(config: Config, observer: StoreObserver | undefined): Promise<SqlDatabase> {
  const database = await openDatabase(config, observer)
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
 * How long a revocation is kept, in whole seconds: the lifetime of an access token that was issued just before it by a host whose
 * clock is up to a minute ahead.
 */
export const revocationWindow = ({ accessTokenLifetime, leeway }: Config): number => accessTokenLifetime + leeway + 60

type SessionStores = Pick<Stores, 'sessions' | 'feed' | 'counters' | 'guesses'>

/** The session policy from the settings. */
export const sessionPolicy = (config: Config): SessionPolicy => ({
  lifetime: config.refreshTokenLifetime,
  absoluteLifetime: config.sessionAbsoluteLifetime,
  grace: config.blacklistAfterRotation ? config.refreshReuseGrace : Number.POSITIVE_INFINITY,
  // Without a grace the operator wants strict single use, as Simple JWT has it.
  lateRetry: config.refreshReuseGrace === 0 ? 0 : Math.min(config.refreshLateRetry, config.refreshTokenLifetime),
  rotate: config.rotateRefreshTokens,
  maxPerUser: config.maxSessionsPerUser
})

/** Undefined without REDIS_URL. */
async function openInRedis(
  config: Config,
  observer: StoreObserver | undefined
): Promise<(SessionStores & Pick<Stores, 'warnings'>) | undefined> {
  const { redisUrl, redisTlsVerify: verifyTls } = config
  if (redisUrl === undefined) return undefined
  const { openRedisStore } = await import('./redis/open.ts')
  return await reached('REDIS_URL', () =>
    openRedisStore(redisUrl, { verifyTls, policy: sessionPolicy(config), window: revocationWindow(config), observer })
  )
}

async function openInFile(
  config: Config,
  database: SqlDatabase,
  clock: Clock,
  observer: StoreObserver | undefined
): Promise<SessionStores> {
  const { openEmbeddedStore } = await import('./embedded/open.ts')
  const engine = isEmbedded(database) ? database : await openFile(config, observer)
  const store = await openEmbeddedStore(engine, sessionPolicy(config), revocationWindow(config), clock)
  const sessions = engine === database ? store.sessions : { ...store.sessions, close: () => engine.close() }
  return { ...store, sessions, counters: undefined }
}

const isEmbedded = (database: SqlDatabase): database is EmbeddedEngine => database.dialect === 'sqlite'

/** The secret that encrypts stored keys. With an embedded file it does not depend on SIGNING_KEY. */
export const keySecret = ({ keyEncryptionSecret, databaseUrl, signingKey, dataDir }: Config): string =>
  keyEncryptionSecret ?? (databaseUrl === undefined ? undefined : signingKey) ?? embeddedSecret(dataDir)

/** The secret if none is configured: generated at the first start beside the embedded file, readable by its owner only. */
function embeddedSecret(dataDir: string): string {
  const file = join(dataDir, 'key-encryption-secret')
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  try {
    // A link appears with its whole content or not at all, so one of several concurrent processes wins.
    linkSync(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    unlinkSync(draft)
  }
  return embeddedSecret(dataDir)
}

/** Reports a store that does not respond at the start under the setting that names it. */
async function reached<T>(variable: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new StoreError(
      `${variable}: cannot be used, ${describe(error)}. Is it running, and is the value correct?`,
      error
    )
  }
}

function describe(error: unknown): string {
  const { detail, message, cause } = error as { detail?: string; message: string; cause?: { code?: string } }
  return (detail ?? cause?.code ?? message).replace(/\.$/, '')
}

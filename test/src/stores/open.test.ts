/* If one of two servers cannot be used, the connection to the other is closed. */
import { Redis } from 'ioredis'
import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { openStores } from '../../../src/stores/open.ts'
import { migrate } from '../../../src/stores/sql/migrate.ts'
import { openPostgres } from '../../../src/stores/sql/postgres.ts'
import { systemClock } from '../../../src/time.ts'
import { until } from '../../conformance/feed.ts'
import { needsPostgres, needsRedis } from '../../support/needs.ts'

const [postgres, redis] = [await needsPostgres(t, { tcp: true }), await needsRedis(t, { tcp: true, own: true })]
const url = await postgres.createDatabase()
const [database, observer] = [openPostgres(await postgres.createDatabase()), new Redis(redis.url)]
t.teardown(() => Promise.all([database.close(), observer.disconnect()]))

const open = (env: Readonly<Record<string, string>>) =>
  openStores(loadConfig({ KEY_ENCRYPTION_SECRET: 'a secret that is long enough for a test', ...env }), systemClock)

/** Connections of this service: to a server of ours there are no others. */
const toRedis = async (): Promise<number> => String(await observer.client('LIST')).match(/ name=keyturn /g)?.length ?? 0
const toPostgres = async (): Promise<number> =>
  (await database.query('SELECT 1 FROM pg_stat_activity WHERE datname = $1', [new URL(url).pathname.slice(1)])).length

const nowhere = { postgres: 'postgres://keyturn@127.0.0.1:1/nowhere', redis: 'redis://127.0.0.1:1' }
const isPrivate = redis.isPrivate ? {} : { skip: 'others are connected to this Redis' }

t.test('the connection to Redis is closed if PostgreSQL is unreachable', isPrivate, async (t) => {
  const opening = open({ DATABASE_URL: nowhere.postgres, REDIS_URL: redis.url })
  await t.rejects(opening, { name: 'StoreError', message: /^DATABASE_URL: cannot be used/ })
  await until(async () => (await toRedis()) === 0, 2000)
})

t.test('and when the tables are missing', isPrivate, async (t) => {
  await t.rejects(open({ DATABASE_URL: url, REDIS_URL: redis.url }), { message: /Run: keyturn migrate/ })
  await until(async () => (await toRedis()) === 0 && (await toPostgres()) === 0, 2000)
})

t.test('the connection to PostgreSQL is closed if Redis is unreachable', async (t) => {
  const own = openPostgres(url)
  await migrate(own)
  await own.close()
  const opening = open({ DATABASE_URL: url, REDIS_URL: nowhere.redis })
  await t.rejects(opening, { name: 'StoreError', message: /^REDIS_URL: cannot be used/ })
  await until(async () => (await toPostgres()) === 0, 2000)
})

t.test('if both stores are unreachable, the database is reported', async (t) => {
  const opening = open({ DATABASE_URL: nowhere.postgres, REDIS_URL: nowhere.redis })
  await t.rejects(opening, { message: /^DATABASE_URL: cannot be used/ })
})

t.test('both are closed at the end', isPrivate, async (t) => {
  const stores = await open({ DATABASE_URL: url, REDIS_URL: redis.url })
  t.same(await stores.check(), { database: 'up', sessions: 'up' })
  t.ok((await toRedis()) > 0 && (await toPostgres()) > 0)
  await stores.close()
  await until(async () => (await toRedis()) === 0 && (await toPostgres()) === 0, 2000)
})

t.test('a Redis that evicts keys is a warning', isPrivate, async (t) => {
  const env = { DATABASE_URL: url, REDIS_URL: redis.url }
  const warningsOf = async (): Promise<readonly string[]> => {
    const stores = await open(env)
    await stores.close()
    return stores.warnings
  }
  t.teardown(() => observer.config('SET', 'maxmemory-policy', 'noeviction'))
  for (const policy of ['allkeys-lru', 'volatile-ttl']) {
    await observer.config('SET', 'maxmemory-policy', policy)
    t.match(await warningsOf(), [new RegExp(`^REDIS_URL: maxmemory-policy is ${policy}, .* expected noeviction$`)])
  }
  await observer.config('SET', 'maxmemory-policy', 'noeviction')
  t.same(await warningsOf(), [])
})

import { Redis } from 'ioredis'
import { KeyturnError } from '../../errors.ts'

/**
 * Connects to `url` (redis:// or rediss://). Every command answers or fails within two seconds, and a lost connection comes
 * back by itself. Throws KeyturnError STORE_DOWN when the first connection fails.
 */
export async function openRedis(url: string, { verifyTls }: { verifyTls: boolean }): Promise<Redis> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 2000,
    commandTimeout: 2000,
    maxRetriesPerRequest: 1,
    connectionName: 'keyturn',
    ...(url.startsWith('rediss:') ? { tls: { rejectUnauthorized: verifyTls } } : {})
  })
  // Without a listener a lost connection ends the process; each command that meets it reports it.
  redis.on('error', () => {})
  try {
    await redis.connect()
    return redis
  } catch (error) {
    redis.disconnect()
    throw redisDown(error)
  }
}

/** Whatever Redis fails with, the caller is told that the store is down: identity fails closed. */
const redisDown = (cause: unknown): KeyturnError =>
  new KeyturnError('STORE_DOWN', { detail: `Redis: ${(cause as Error).message}`, retryAfter: 1, cause })

type Methods = Record<string, (...args: never[]) => Promise<unknown>>

/** The same store, with every failure of Redis told as STORE_DOWN. */
export function failClosed<Store extends { [Name in keyof Store]: (...args: never[]) => Promise<unknown> }>(
  store: Store
): Store {
  const guarded = Object.entries(store as Methods).map(([name, method]) => [
    name,
    async (...args: never[]) => {
      try {
        return await method(...args)
      } catch (error) {
        throw redisDown(error)
      }
    }
  ])
  return Object.fromEntries(guarded) as Store
}

import { type ChainableCommander, Cluster, type RedisOptions as IoredisOptions, Redis } from 'ioredis'
import { KeyturnError } from '../../errors.ts'
import { type Address, parseAddress } from './address.ts'

export interface RedisOptions {
  /** Whether the certificate of a rediss:// server is checked. */
  readonly verifyTls: boolean
}

type ClientOptions = Omit<IoredisOptions, 'replyMapping'>

/** A connection to one server, to the master that Sentinels name, or to a Cluster. */
export type Connection = Redis | Cluster

/** Every command is answered or fails within about two seconds: better a 503 now than a client that waits. Milliseconds. */
const forRequests: ClientOptions = { commandTimeout: 2000, maxRetriesPerRequest: 1 }

/**
 * A blocking read waits for the server, and for a connection that is broken; one over which nothing has come for five
 * seconds, though every read is answered after one, is given up for a new one.
 */
const forReader: ClientOptions = { socketTimeout: 5000, maxRetriesPerRequest: null }

/**
 * Connects to `url` (address.ts). A lost connection comes back by itself, to whichever server is the master by then.
 * Throws KeyturnError STORE_DOWN when the first connection fails.
 */
export const openRedis = (url: string, options: RedisOptions): Promise<Connection> => connect(url, options, forRequests)

/** A connection for blocking reads; otherwise as openRedis. */
export const openReader = (url: string, options: RedisOptions): Promise<Connection> => connect(url, options, forReader)

async function connect(url: string, { verifyTls }: RedisOptions, purpose: ClientOptions): Promise<Connection> {
  const address = parseAddress(url)
  const connection = makeConnection(address, {
    ...purpose,
    connectTimeout: 2000,
    connectionName: 'keyturn',
    // A master that has become a replica: ask again who the master is, and send the command there.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    ...(address.tls ? { tls: { rejectUnauthorized: verifyTls } } : {})
  })
  // Without a listener a lost connection ends the process; each command that meets it reports it.
  let reason: unknown
  connection.on('error', (error) => {
    reason = error
  })
  try {
    await connection.connect()
    await connection.ping()
    return connection
  } catch (error) {
    connection.disconnect()
    // ioredis only says that the connection is closed; why, it has told before.
    throw redisDown(reason ?? error)
  }
}

function makeConnection({ kind, nodes, username, password, ...address }: Address, options: ClientOptions): Connection {
  const account = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  const common: ClientOptions = { ...options, ...account, lazyConnect: true }
  switch (kind) {
    case 'single':
      return new Redis({ ...common, ...nodes[0], db: address.db })
    case 'socket':
      return new Redis({ ...common, path: address.path, db: address.db })
    case 'sentinel':
      return new Redis({ ...common, sentinels: [...nodes], name: address.name, db: address.db, failoverDetector: true })
    case 'cluster':
      return new Cluster([...nodes], {
        redisOptions: common,
        lazyConnect: true,
        slotsRefreshTimeout: 2000,
        // A command that waits for a Cluster no node of which answers has no timeout: only the reader may wait.
        enableOfflineQueue: options.maxRetriesPerRequest === null
      })
  }
}

/** How long a revocation waits for a replica, in milliseconds. */
const replicationTimeout = 1000

/**
 * Resolves when a replica has what this connection wrote to the server of `key`, and at once where that has none.
 * Throws when no replica answers in time: the write stands, but a failover could lose it.
 */
export async function untilReplicated(redis: Connection, key: string): Promise<void> {
  // INFO and WAIT name no key: in one pipeline with a command that does, they go to its server and connection. That command
  // fails where a Cluster is moving the key away, and then the others have asked the wrong server.
  const [, about] = await replies(redis.pipeline().exists(key).info('replication'))
  if (String(about).includes('connected_slaves:0')) return
  const [, waited] = await replies(redis.pipeline().exists(key).wait(1, replicationTimeout))
  if (!(Number(waited) >= 1)) throw new Error('no replica has acknowledged the write')
}

/** What the commands of a pipeline answered. Throws when any of them failed. */
async function replies(pipeline: ChainableCommander): Promise<readonly unknown[]> {
  const results = (await pipeline.exec()) ?? []
  return results.map(([error, reply]) => {
    if (error) throw error
    return reply
  })
}

/** Whatever Redis fails with, the caller is told that the store is down: identity fails closed. */
const redisDown = (cause: unknown): KeyturnError =>
  new KeyturnError('STORE_DOWN', {
    detail: `Redis: ${(cause as Error).message || (cause as NodeJS.ErrnoException).code}`,
    retryAfter: 1,
    cause
  })

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

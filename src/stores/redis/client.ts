import { type ChainableCommander, Cluster, type RedisOptions as IoredisOptions, Redis } from 'ioredis'
import { parseRedisUrl, type RedisAddress } from '../../config/redis-address.ts'
import { KeyturnError } from '../../errors.ts'
import { type Circuit, CircuitBreaker, type CircuitReport } from '../circuit.ts'

export interface RedisOptions {
  /** Whether the certificate of a rediss:// server is checked. */
  readonly verifyTls: boolean
}

type ClientOptions = Omit<IoredisOptions, 'replyMapping'>

/** A connection to one server, to the master that Sentinels name, or to a Cluster. */
export type Connection = Redis | Cluster

/** Milliseconds before the next attempt to connect: up to a second, less a part by chance, so that not all come at once. */
const reconnectAfter = (attempt: number): number => Math.min(attempt * 50, 1000) * (1 - Math.random() / 2)

/**
 * Every command is answered or fails within about two seconds: better a 503 now than a client that waits. Milliseconds.
 * It is sent at once and once. ioredis would keep it for the next connection, and send again what was not answered on the
 * last: a refresh that comes so late, when its client has long had another answer, is taken for a theft.
 * A connection over which an answer is overdue is given up: its server may be gone without a word, and another the master.
 */
const forRequests: ClientOptions = {
  commandTimeout: 2000,
  socketTimeout: 2500,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  retryStrategy: reconnectAfter
}

/**
 * A blocking read waits for the server, and for a connection that is broken; one over which nothing has come for five
 * seconds, though every read is answered after one, is given up for a new one.
 */
const forReader: ClientOptions = {
  socketTimeout: 5000,
  maxRetriesPerRequest: null,
  retryStrategy: reconnectAfter
}

/**
 * Connects to `url` (redis-address.ts). A lost connection comes back by itself, to whichever server is the master by then.
 * Throws KeyturnError STORE_DOWN when the first connection fails.
 */
export const openRedis = (url: string, options: RedisOptions): Promise<Connection> => connect(url, options, forRequests)

/** A connection for blocking reads; otherwise as openRedis. */
export const openReader = (url: string, options: RedisOptions): Promise<Connection> => connect(url, options, forReader)

async function connect(url: string, { verifyTls }: RedisOptions, purpose: ClientOptions): Promise<Connection> {
  const address = parseRedisUrl(url)
  const connection = makeConnection(address, {
    ...purpose,
    connectTimeout: 2000,
    connectionName: 'keyturn',
    // A master that has become a replica: ask again who the master is.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(address.tls ? { tls: { rejectUnauthorized: verifyTls } } : {})
  })
  // Without a listener a lost connection ends the process; each command that meets it reports it. The first error is why a
  // connection does not come about: connecting itself then only says that it is closed, and asks Sentinels for ever.
  const failed = new Promise<never>((_, reject) => connection.on('error', reject))
  try {
    await Promise.race([connection.connect(), failed])
    await connection.ping()
    return connection
  } catch (error) {
    connection.disconnect()
    throw redisDown(error, address.tls && verifyTls ? aboutCertificates : undefined)
  }
}

/** What helps when a certificate is not trusted. Of a Cluster and of Sentinels it is only heard that they closed the connection. */
const aboutCertificates = {
  when: /certificate|altnames|closed/i,
  advice: '; trust who signed its certificate with NODE_EXTRA_CA_CERTS, or accept any with REDIS_TLS_VERIFY=false'
}

function makeConnection(
  { kind, nodes, username, password, ...address }: RedisAddress,
  options: ClientOptions
): Connection {
  const account = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  const common: ClientOptions = { ...options, ...account, family: address.family, lazyConnect: true }
  switch (kind) {
    case 'single':
      return new Redis({ ...common, ...nodes[0], db: address.db })
    case 'socket':
      return new Redis({ ...common, path: address.path, db: address.db })
    case 'sentinel':
      return new Redis({
        ...common,
        sentinels: nodes.map((node) => ({ ...node, family: address.family })),
        name: address.name,
        db: address.db,
        failoverDetector: true,
        sentinelCommandTimeout: 2000,
        // Without these ioredis speaks in the clear, whatever `tls` says.
        ...(options.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: options.tls })
      })
    case 'cluster':
      return new Cluster([...nodes], {
        redisOptions: common,
        lazyConnect: true,
        slotsRefreshTimeout: 2000,
        // While no node answers: a command that waits for one has no timeout here.
        enableOfflineQueue: options.enableOfflineQueue ?? true
      })
  }
}

/**
 * What is wrong with the server's maxmemory-policy: one that evicts keys ends sessions, and may forget revocations. Undefined when it
 * keeps them all. INFO says it, since managed servers refuse CONFIG; a server that refuses INFO too is not judged.
 */
export async function evictionWarning(redis: Connection): Promise<string | undefined> {
  const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info('memory').catch(() => ''))?.[1]
  if (policy === undefined || policy === 'noeviction') return undefined
  return `REDIS_URL: maxmemory-policy is ${policy}, which may evict sessions and revocations; expected noeviction`
}

/** How long a revocation waits for a replica, in milliseconds. */
const replicationTimeout = 1000

/**
 * Resolves when a replica has what this connection wrote to the server of `key`, and at once where that has none in use.
 * Throws when no replica answers in time: the write stands, but a failover could lose it.
 */
export async function untilReplicated(redis: Connection, key: string): Promise<void> {
  // INFO and WAIT name no key: in one pipeline with a command that does, they go to its server and connection. That command
  // fails where a Cluster is moving the key away, and then the others have asked the wrong server.
  const [, about] = await replies(redis.pipeline().exists(key).info('replication'))
  // One that is still loading its first copy has acknowledged nothing, and cannot be promoted.
  if (!/state=online,offset=[1-9]/.test(String(about))) return
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
export function redisDown(cause: unknown, about?: typeof aboutCertificates): KeyturnError {
  const reason = explain(cause as RedisFailure)
  const advice = about?.when.test(reason) ? about.advice : ''
  return new KeyturnError('STORE_DOWN', { detail: `Redis: ${reason}${advice}`, retryAfter: 1, cause })
}

/** `lastNodeError`: what the last node of a Cluster failed with, none of which could be reached. */
type RedisFailure = NodeJS.ErrnoException & { readonly lastNodeError?: NodeJS.ErrnoException }

function explain(failure: RedisFailure): string {
  const { message, code } = failure.lastNodeError ?? failure
  // ioredis names the options that let it say so.
  if (/enableOfflineQueue|maxRetriesPerRequest/.test(message)) return 'not connected'
  return message === '' ? String(code) : message.replace(/\.$/, '')
}

/** One for all that is sent over `redis`: what one store learns of the server, the others need not find out. */
export const makeRedisCircuit = (redis: Connection, report?: CircuitReport): Circuit =>
  new CircuitBreaker({ name: 'Redis', probe: () => redis.ping(), report })

type Methods = Record<string, (...args: never[]) => Promise<unknown>>

/** The same store behind `circuit`, with every failure of Redis told as STORE_DOWN. */
export function failClosed<Store extends { [Name in keyof Store]: (...args: never[]) => Promise<unknown> }>(
  circuit: Circuit,
  store: Store
): Store {
  const guarded = Object.entries(store as Methods).map(([name, method]) => [
    name,
    async (...args: never[]) => {
      try {
        return await circuit.run(() => method(...args))
      } catch (error) {
        throw error instanceof KeyturnError ? error : redisDown(error)
      }
    }
  ])
  return Object.fromEntries(guarded) as Store
}

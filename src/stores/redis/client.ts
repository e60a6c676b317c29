import { lookup } from 'node:dns'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type ChainableCommander, Cluster, type RedisOptions as IoredisOptions, Redis } from 'ioredis'
import { parseRedisUrl, type RedisAddress } from '../../config/redis-address.ts'
import { KeyturnError } from '../../errors.ts'
import { type Circuit, CircuitBreaker, type StoreObserver } from '../circuit.ts'

export interface RedisOptions {
  /** Whether the certificate of a rediss:// server is verified. */
  readonly verifyTls: boolean
}

type ClientOptions = Omit<IoredisOptions, 'replyMapping'>

/** A connection to one server, to the master of Sentinels, or to a Cluster. */
export type Connection = Redis | Cluster

/** Milliseconds before the next attempt to connect: up to a second, with jitter so that workers do not reconnect at once. */
const reconnectAfter = (attempt: number): number => Math.min(attempt * 50, 1000) * (1 - Math.random() / 2)

/**
 * Every command completes or fails within about two seconds, since an early 503 is better than a waiting client. Milliseconds.
 * It is sent at once and only once. By default ioredis would queue it for the next connection and resend unanswered commands: a
 * refresh that arrives so late, after its client got another response, would count as theft.
 * A connection on which a response is overdue is closed: its server may be down, and another one the master.
 */
const forRequests: ClientOptions = {
  commandTimeout: 2000,
  socketTimeout: 2500,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  retryStrategy: reconnectAfter
}

/**
 * A blocking read waits for the server and for a broken connection to return. A connection without data for five seconds is
 * replaced, since every read is answered after one second.
 */
const forReader: ClientOptions = {
  socketTimeout: 5000,
  maxRetriesPerRequest: null,
  retryStrategy: reconnectAfter
}

/**
 * Connects to `url` (redis-address.ts), and reconnects automatically to the current master. Throws KeyturnError STORE_DOWN if the
 * first connection fails.
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
    // The master has become a replica: reconnect to find the new master.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(address.tls ? { tls: { rejectUnauthorized: verifyTls } } : {})
  })
  // Without a listener a lost connection would end the process; each failing command reports it. The first error is the cause of
  // a failed connection: connect() itself only reports that it is closed, and queries Sentinels forever.
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

/** Advice if a certificate is not trusted. With a Cluster or Sentinels the only symptom is a closed connection. */
const aboutCertificates = {
  when: /certificate|altnames|closed/i,
  advice: '; trust who signed its certificate with NODE_EXTRA_CA_CERTS, or accept any with REDIS_TLS_VERIFY=false'
}

/**
 * Connects again whenever it has ended without `disconnect`. ioredis ends a connection for good if the Sentinels announce a failover
 * while it looks for the master: the failover detector disconnects the connector, whose connect() then rejects, and no retryStrategy
 * is asked.
 *
 * Commands that are sent without waiting for anything in between reach the server in one packet, since to write a packet takes
 * longer than a command: ending the sessions of many users takes half the time (bench/bulk-revocation.ts).
 */
class LastingRedis extends Redis {
  #isClosed = false

  constructor(options: ClientOptions) {
    super(options)
    this.on('end', () => this.#startAgain())
  }

  override sendCommand(...command: Parameters<Redis['sendCommand']>): unknown {
    const { stream } = this
    // Undefined before the first connection.
    if (stream?.writableCorked === 0) {
      stream.cork()
      process.nextTick(() => stream.uncork())
    }
    return super.sendCommand(...command)
  }

  override disconnect(reconnect = false): void {
    this.#isClosed ||= !reconnect
    super.disconnect(reconnect)
  }

  #startAgain(): void {
    setTimeout(() => {
      // A failure ends it again.
      if (!this.#isClosed) this.connect().catch(() => {})
    }, reconnectAfter(1)).unref()
  }
}

function makeConnection(
  { kind, nodes, username, password, ...address }: RedisAddress,
  options: ClientOptions
): Connection {
  const account = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  const common: ClientOptions = { ...options, ...account, family: address.family, lazyConnect: true }
  switch (kind) {
    case 'single':
      return new LastingRedis({ ...common, ...nodes[0], db: address.db })
    case 'socket':
      return new LastingRedis({ ...common, path: address.path, db: address.db })
    case 'sentinel':
      return new LastingRedis({
        ...common,
        sentinels: nodes.map((node) => ({ ...node, family: address.family })),
        name: address.name,
        natMap: (announced) => addressOf(announced, address.family),
        db: address.db,
        failoverDetector: true,
        sentinelCommandTimeout: 2000,
        // Without these, ioredis does not use TLS, whatever `tls` is.
        ...(options.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: options.tls })
      })
    case 'cluster':
      return new Cluster([...nodes], {
        redisOptions: common,
        // By default ioredis resolves the names of nodes to addresses of either version.
        dnsLookup: (host, callback) => lookup(host, { family: address.family }, callback),
        lazyConnect: true,
        slotsRefreshTimeout: 2000,
        // For when no node responds: a command that waits for one has no time-out here.
        enableOfflineQueue: options.enableOfflineQueue ?? true
      })
  }
}

/** A server that a Sentinel announces as HOST:PORT. Without `family`, ioredis would reach one with a name by either version of IP. */
function addressOf(announced: string, family: RedisAddress['family']) {
  const colon = announced.lastIndexOf(':')
  return { host: announced.slice(0, colon), port: Number(announced.slice(colon + 1)), family }
}

/**
 * A warning if the server's maxmemory-policy evicts keys, which ends sessions and can lose revocations; otherwise undefined. Read
 * from INFO, since managed servers refuse CONFIG; a server that refuses INFO too is not checked.
 */
export async function evictionWarning(redis: Connection): Promise<string | undefined> {
  const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info('memory').catch(() => ''))?.[1]
  if (policy === undefined || policy === 'noeviction') return undefined
  return `REDIS_URL: maxmemory-policy is ${policy}, which may evict sessions and revocations; expected noeviction`
}

/** How long a revocation waits for a replica, in milliseconds. */
const replicationTimeout = 1000

/**
 * Resolves when a replica has the writes of this connection to the server of `key`, or at once if that has no replica. Throws if no
 * replica responds in time: the write has taken effect, but a failover could lose it.
 */
export function untilReplicated(redis: Connection, key: string): Promise<void> {
  const waits = unsentWaits.get(redis) ?? new Map<string, Promise<void>>()
  unsentWaits.set(redis, waits)
  // Without a Cluster one server has all keys.
  const server = redis instanceof Cluster ? key : ''
  const wait =
    waits.get(server) ??
    nextTurn().then(() => {
      waits.delete(server)
      return confirmWrites(redis, key)
    })
  waits.set(server, wait)
  return wait
}

/** Waits that are not sent yet, by server: callers of the same turn of the event loop, whose writes came before it, share one. */
const unsentWaits = new WeakMap<Connection, Map<string, Promise<void>>>()

async function confirmWrites(redis: Connection, key: string): Promise<void> {
  // INFO and WAIT have no key: in one pipeline with a command that has one, they are sent to its server on the same connection.
  // That command fails if a Cluster is moving the key, in which case the others have reached the wrong server.
  const [, about] = await replies(redis.pipeline().exists(key).info('replication'))
  // A replica that is still loading its first copy has acknowledged nothing and cannot be promoted.
  if (!/state=online,offset=[1-9]/.test(String(about))) return
  const [, waited] = await replies(redis.pipeline().exists(key).wait(1, replicationTimeout))
  if (!(Number(waited) >= 1)) throw new Error('no replica has acknowledged the write')
}

/** The results of the commands of a pipeline. Throws if any of them failed. */
export async function replies(pipeline: ChainableCommander): Promise<readonly unknown[]> {
  const results = (await pipeline.exec()) ?? []
  return results.map(([error, reply]) => {
    if (error) throw error
    return reply
  })
}

/** Every failure of Redis becomes STORE_DOWN: identity fails closed. */
export function redisDown(cause: unknown, about?: typeof aboutCertificates): KeyturnError {
  const reason = explain(cause as RedisFailure)
  const advice = about?.when.test(reason) ? about.advice : ''
  return new KeyturnError('STORE_DOWN', { detail: `Redis: ${reason}${advice}`, retryAfter: 1, cause })
}

/** `lastNodeError` is the error of the last node if no node of a Cluster is reachable. */
type RedisFailure = NodeJS.ErrnoException & { readonly lastNodeError?: NodeJS.ErrnoException }

function explain(failure: RedisFailure): string {
  const { message, code } = failure.lastNodeError ?? failure
  // ioredis' own message only names the options that made it give up.
  if (/enableOfflineQueue|maxRetriesPerRequest/.test(message)) return 'not connected'
  const advice = message.startsWith('NOPERM') ? '; keyturn check-config lists what is missing' : ''
  return message === '' ? String(code) : message.replace(/\.$/, '') + advice
}

/** One circuit for all commands over `redis`, so that all stores share what one learns about the server. */
export const makeRedisCircuit = (redis: Connection, observer?: StoreObserver): Circuit =>
  new CircuitBreaker({ name: 'Redis', probe: () => redis.ping(), observer })

type Methods = Record<string, (...args: never[]) => Promise<unknown>>

/** The same store behind `circuit`, with every failure of Redis as STORE_DOWN. */
export function failClosed<Store extends { [Name in keyof Store]: (...args: never[]) => Promise<unknown> }>(
  circuit: Circuit,
  store: Store
): Store {
  const guarded = Object.entries(store as Methods).map(([name, method]) => [
    name,
    async (...args: never[]) => {
      try {
        return await circuit.run(() => method(...args), { operation: name })
      } catch (error) {
        throw error instanceof KeyturnError ? error : redisDown(error)
      }
    }
  ])
  return Object.fromEntries(guarded) as Store
}

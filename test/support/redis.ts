/** Redis servers for tests. */
import { connect } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { endProcess, findEngines, freePort, openEnclosure, untilReady, whyMissing } from './engines.ts'

/** The variable that names the server of a run: test/run.ts. */
export const sharedRedis = 'KEYTURN_TEST_REDIS'
/** How many databases that one has; the first counts those that were given out. */
export const sharedDatabases = 10_000

export type RedisOptions = {
  /** A server that the test may kill or empty, or whose clients it counts: never the one that the files of a run share. */
  readonly own?: boolean
  /** Listen on a free TCP port of 127.0.0.1, so that `url` is a `redis://` URL; otherwise on a unix socket only. */
  readonly tcp?: boolean
  /** Keep what was written, fsync'ed at each write, over `kill` and `restart`. */
  readonly appendonly?: boolean
  /** More of redis-server's own arguments: `['--requirepass', 'x']`. */
  readonly args?: readonly string[]
}

/** What `new Redis(...)` takes, with a few of your own beside it: `new Redis({ ...redis.options, db: 2 })`. */
export type RedisAddress =
  | { readonly path: string }
  | {
      readonly host: string
      readonly port: number
      readonly username?: string
      readonly password?: string
      readonly db?: number
      readonly tls?: Record<string, never>
    }

export type RedisServer = {
  /** `redis://127.0.0.1:PORT` with `tcp`, else the socket's path; ioredis takes either. It survives a restart. */
  readonly url: string
  readonly options: RedisAddress
  /** False when others use the server too: then `kill` and `restart` throw. */
  readonly isPrivate: boolean
  /** Sends a signal, SIGKILL by default, and resolves when the server is gone; at once for SIGSTOP and SIGCONT. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Ends the server if it runs, and starts it again at the same address; empty unless `appendonly`. */
  restart(): Promise<void>
  /** Ends the server and removes its directory. May be called twice. */
  stop(): Promise<void>
}

/**
 * Starts a private redis-server, in 20 to 60 ms, and resolves when it answers. In a run of test/run.ts it is a database of the
 * run's server, unless `own` or another option asks for more. With TEST_REDIS_URL set it is that server, whatever the options.
 * Throws when redis-server is not installed.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const given = process.env.TEST_REDIS_URL
  if (given) return givenRedis(given)
  const shared = process.env[sharedRedis]
  const isShareable = !options.own && !options.appendonly && options.args === undefined
  return shared && isShareable ? givenRedis(await nextDatabase(shared)) : await privateRedis(options)
}

async function privateRedis(options: RedisOptions): Promise<RedisServer> {
  const command = findEngines().redis
  if (command === undefined) throw new Error(whyMissing('redis'))
  const enclosure = await openEnclosure('redis', 'SIGKILL')
  const path = join(enclosure.directory, 's')
  const port = options.tcp ? await freePort() : 0
  const start = async () => {
    const child = enclosure.spawn(command, serverArguments(enclosure.directory, port, options))
    await untilReady(child, enclosure, () => answers(port, path))
    return child
  }
  let child = await start().catch(async (error) => {
    await enclosure.close()
    throw error
  })
  return {
    url: port === 0 ? path : `redis://127.0.0.1:${port}`,
    options: port === 0 ? { path } : { host: '127.0.0.1', port },
    isPrivate: true,
    kill: (signal = 'SIGKILL') => endProcess(child, signal),
    async restart() {
      await endProcess(child, 'SIGTERM')
      child = await start()
    },
    stop: () => enclosure.close()
  }
}

function serverArguments(directory: string, port: number, { appendonly, args = [] }: RedisOptions): string[] {
  const where = ['--dir', directory, '--unixsocket', join(directory, 's'), '--port', `${port}`, '--bind', '127.0.0.1']
  const keep = ['--save', '', '--appendonly', appendonly ? 'yes' : 'no', '--appendfsync', 'always']
  return [...where, ...keep, ...args]
}

/** Whether the server answers a PING; one that is still loading, or wants a password, answers with an error. */
function answers(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = port === 0 ? connect(path) : connect(port, '127.0.0.1')
    socket.setTimeout(1000, () => socket.destroy())
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (reply) => {
      resolve(/^(\+PONG|-NOAUTH)/.test(reply.toString()))
      socket.destroy()
    })
    socket.once('error', () => {})
    socket.once('close', () => resolve(false))
  })
}

function givenRedis(given: string): RedisServer {
  const unavailable = async () => {
    throw new Error('others use this server: a test that kills or restarts one asks for its own')
  }
  return {
    url: given,
    options: parseAddress(given),
    isPrivate: false,
    kill: unavailable,
    restart: unavailable,
    stop: async () => {}
  }
}

/** A database of the run's server that nothing else uses. */
async function nextDatabase(server: string): Promise<string> {
  const redis = new Redis(server)
  try {
    return `${server}/${await redis.incr('databases')}`
  } finally {
    redis.disconnect()
  }
}

function parseAddress(given: string): RedisAddress {
  if (given.startsWith('/')) return { path: given }
  const { protocol, hostname, port, username, password, pathname } = new URL(given)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 6379),
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(pathname.length > 1 && { db: Number(pathname.slice(1)) }),
    ...(protocol === 'rediss:' && { tls: {} })
  }
}

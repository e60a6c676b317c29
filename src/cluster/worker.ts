/* A worker: the application, on the arbiter's socket. It leaves when it is asked to, or when the arbiter is gone. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { DrainOptions } from '../../plugins/drain.ts'
import { buildApp } from '../app.ts'
import { ConfigError, loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { checkSigningKey } from '../keys/import.ts'
import { hasherSettings, makePasswordHasher } from '../passwords/hasher.ts'
import { joinArbiter } from './child.ts'
import { openLog } from './log.ts'
import { makeRemoteHasher, type RemoteHasher } from './remote-hasher.ts'
import { quickGrace } from './signals.ts'
import { portFault } from './socket.ts'

/** How long requests in flight may take when the arbiter is gone or a defect has shown itself, in milliseconds. */
const lastGrace = 2000

/** After that the process ends, whatever still holds it, in milliseconds. */
const lastClosing = 2000

/** Undefined while this worker boots. */
let app: FastifyInstance | undefined
let hasher: RemoteHasher | undefined
/** That of MANAGEMENT_PORT, which comes before the service's. */
let managementSocket: object | undefined
let giveSocket: (socket: object) => void
const socket = new Promise<object>((resolve) => {
  giveSocket = resolve
})
/** Scrapes that wait for the arbiter's sum. */
const scrapes: ((text: string) => void)[] = []

const arbiter = joinArbiter(
  'worker',
  (order, handle) => {
    if (order.type === 'listen' && handle !== undefined) {
      if (order.at === 'management') managementSocket = handle
      else giveSocket(handle)
    }
    if (order.type === 'drain') void leave(0, { graceMs: order.grace, delayMs: order.delay, isStop: order.isStop })
    if (order.type === 'hashed') hasher?.settle(order.id, order.result)
    if (order.type === 'room') hasher?.hearOfRoom(order.places)
    if (order.type === 'measure') void measure()
    if (order.type === 'scraped') {
      for (const resolve of scrapes.splice(0)) resolve(order.text)
    }
  },
  () => leaveSoon(true)
)

await arbiter.boot(async () => {
  const config = loadConfig(process.env, checkSigningKey)
  hasher = makeRemoteHasher(makePasswordHasher(hasherSettings(config)), arbiter.tell)
  const built = await buildApp(config, { log: await openLog(config), hasher, scrape })
  recycle(built.server, config)
  // A platform may signal all processes, as Heroku does. Only the arbiter knows whether the service stops: it says so.
  const [graceMs, delayMs] = [config.gracefulTimeout * 1000, config.shutdownDelay * 1000]
  process.on('SIGTERM', () => void leave(0, { graceMs, delayMs }))
  for (const signal of ['SIGINT', 'SIGQUIT']) process.on(signal, () => void leave(0, { graceMs: quickGrace }))
  const handle = await socket
  if (built.management !== undefined) await listenForManagement(built.management, config)
  await listen(built.server, handle, config)
  app = built
  process.on('uncaughtException', (error) => {
    built.log.fatal({ err: error }, 'a defect; this worker ends')
    leaveSoon(false)
  })
  return { report: { type: 'ready', hasNoUsers: await isWithoutUsers(built, config) }, timeout: config.timeout }
})

/** Accepts on the arbiter's socket. Throws ConfigError when somebody else has come to listen at the same address. */
async function listen(server: Server, handle: object, { host, port, backlog }: Config): Promise<void> {
  server.listen(handle, backlog)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw portFault(host, port, (error as NodeJS.ErrnoException).code ?? '')
  }
}

/** The same on MANAGEMENT_PORT, whose socket is bound once, at the start, like the other one. */
async function listenForManagement(server: Server, config: Config): Promise<void> {
  if (managementSocket === undefined)
    throw new ConfigError(['MANAGEMENT_PORT: set for a reload, expected at a start: restart for it.'])
  await listen(server, managementSocket, config)
}

/** The metrics of all workers, by way of the arbiter. */
function scrape(): Promise<string> {
  return new Promise((resolve) => {
    scrapes.push(resolve)
    arbiter.tell({ type: 'scrape' })
  })
}

async function measure(): Promise<void> {
  if (app === undefined) return
  const registry = await app.metrics()
  arbiter.tell({ type: 'measured', metrics: await registry.getMetricsAsJSON() })
}

/** Says once that MAX_REQUESTS are served; the arbiter relieves this worker when its replacement is ready. */
function recycle(server: Server, { maxRequests, maxRequestsJitter }: Config): void {
  if (maxRequests === 0) return
  let left = maxRequests + Math.floor(Math.random() * (maxRequestsJitter + 1))
  server.on('request', () => {
    left -= 1
    if (left === 0) arbiter.tell({ type: 'spent' })
  })
}

/** Whether somebody starts it for the first time; asked of embedded data only, where nobody else can have made a user. */
async function isWithoutUsers({ stores }: FastifyInstance, { databaseUrl }: Config): Promise<boolean> {
  return databaseUrl === undefined && (await stores.users.list('', 1)).length === 0
}

/** Drains and ends the process. A later call can only shorten the drain. */
async function leave(exitCode: number, options: DrainOptions): Promise<void> {
  // Nothing has been served yet.
  if (app === undefined) process.exit(exitCode)
  try {
    await app.drain(options)
    await measure()
  } catch (error) {
    app.log.error({ err: error }, 'not everything could be closed')
  }
  process.exit(exitCode)
}

/** Leaves with status 1: the arbiter has died, and the service with it, or this worker met an uncaught exception. */
function leaveSoon(isStop: boolean): void {
  setTimeout(() => process.exit(1), lastGrace + lastClosing).unref()
  void leave(1, { graceMs: lastGrace, isStop })
}

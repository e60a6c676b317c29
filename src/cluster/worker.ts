/* A worker: the application, on the arbiter's socket. It exits if the arbiter orders it to, or has died. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { DrainOptions } from '../../plugins/drain.ts'
import { buildApp } from '../app.ts'
import type { ActivityRecord, ActivityReport, ServiceState } from '../activity.ts'
import { ConfigError, loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { checkSigningKey } from '../keys/import.ts'
import { hasherSettings, makePasswordHasher } from '../passwords/hasher.ts'
import { openTracing } from '../tracing/open.ts'
import { ArbiterChannel } from './child.ts'
import { countDroppedLines, finishLog, openLog } from './log.ts'
import type { Order } from './messages.ts'
import { RemoteHasher } from './remote-hasher.ts'
import { quickGrace } from './signals.ts'
import { portFault } from './socket.ts'

/** How long requests in flight may take when the arbiter has died or after an uncaught exception, in milliseconds. */
const lastGrace = 2000

/** Milliseconds after which the process then exits, even if something keeps it running. */
const lastClosing = 2000

/** Undefined while this worker boots. */
let app: FastifyInstance | undefined
let hasher: RemoteHasher | undefined
/** The socket of MANAGEMENT_PORT, which arrives before the service's. */
let managementSocket: object | undefined
let resolveSocket: (socket: object) => void
const socket = new Promise<object>((resolve) => {
  resolveSocket = resolve
})
/** Scrapes that wait for the arbiter's sum. */
const scrapes: ((text: string) => void)[] = []
/** Requests for the activity of all workers that the arbiter has not answered. */
const overviews: ((report: ActivityReport & ServiceState) => void)[] = []

/** The history of all workers is the arbiter's. */
const activity: ActivityRecord = {
  add: (each) => arbiter.send({ type: 'activity', activity: each }),
  read: () =>
    new Promise((resolve) => {
      overviews.push(resolve)
      arbiter.send({ type: 'overview' })
    })
}

const arbiter = new ArbiterChannel('worker', obey, () => leaveSoon(true))

await arbiter.boot(async () => {
  const config = loadConfig(process.env, checkSigningKey)
  hasher = new RemoteHasher(makePasswordHasher(hasherSettings(config)), (report) => arbiter.send(report))
  const log = await openLog(config)
  const tracing = await openTracing(process.env, log)
  const built = await buildApp(config, { log, hasher, scrape, activity, droppedLines: countDroppedLines, tracing })
  countRequests(built.server, config)
  // A platform may signal all processes, as Heroku does. Only the arbiter knows whether the service stops, and sends an order.
  const [graceMs, delayMs] = [config.gracefulTimeout * 1000, config.shutdownDelay * 1000]
  const leaveOn = (signal: NodeJS.Signals, options: DrainOptions): void => {
    process.on(signal, () => {
      arbiter.send({ type: 'leaving', signal })
      void leave(0, options)
    })
  }
  leaveOn('SIGTERM', { graceMs, delayMs })
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) leaveOn(signal, { graceMs: quickGrace })
  const handle = await socket
  if (built.management !== undefined) await listenForManagement(built.management, config)
  await listen(built.server, handle, config)
  app = built
  process.on('uncaughtException', (error) => {
    built.log.fatal({ err: error }, 'uncaught exception; stopping this worker')
    leaveSoon(false)
  })
  return { report: { type: 'ready', hasNoUsers: await isWithoutUsers(built, config) }, timeout: config.timeout }
})

function obey(order: Order, handle: object | undefined): void {
  switch (order.type) {
    case 'listen':
      if (order.at === 'management') managementSocket = handle
      else if (handle !== undefined) resolveSocket(handle)
      break
    case 'drain':
      void leave(0, { graceMs: order.grace, delayMs: order.delay, isStop: order.isStop })
      break
    case 'hashed':
      hasher?.settle(order.id, order.result)
      break
    case 'capacity':
      hasher?.addCapacity(order.places)
      break
    case 'measure':
      void measure()
      break
    case 'scraped':
      for (const resolve of scrapes.splice(0)) resolve(order.text)
      break
    case 'overview':
      for (const resolve of overviews.splice(0)) resolve(order.report)
  }
}

/** Accepts connections on the arbiter's socket. Throws ConfigError if another process now listens at the same address. */
async function listen(server: Server, handle: object, { host, port, backlog }: Config): Promise<void> {
  server.listen(handle, backlog)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw portFault(host, port, (error as NodeJS.ErrnoException).code ?? '')
  }
}

/** Accepts on the socket of MANAGEMENT_PORT, which the arbiter binds once, at its start, like the service's. */
async function listenForManagement(server: Server, config: Config): Promise<void> {
  if (managementSocket === undefined)
    throw new ConfigError(['MANAGEMENT_PORT: a reload cannot add it; restart the service.'])
  await listen(server, managementSocket, config)
}

/** The metrics of all workers, by way of the arbiter. */
function scrape(): Promise<string> {
  return new Promise((resolve) => {
    scrapes.push(resolve)
    arbiter.send({ type: 'scrape' })
  })
}

async function measure(): Promise<void> {
  if (app === undefined) return
  const registry = await app.metrics()
  arbiter.send({ type: 'measured', metrics: await registry.getMetricsAsJSON() })
}

/** Reports once that MAX_REQUESTS are served; the arbiter drains this worker when its replacement is ready. */
function countRequests(server: Server, { maxRequests, maxRequestsJitter }: Config): void {
  if (maxRequests === 0) return
  let left = maxRequests + Math.floor(Math.random() * (maxRequestsJitter + 1))
  server.on('request', () => {
    left -= 1
    if (left === 0) arbiter.send({ type: 'exhausted' })
  })
}

/** Whether no user has been created yet. Only checked on embedded data, which no other service can have filled. */
async function isWithoutUsers({ stores }: FastifyInstance, { databaseUrl }: Config): Promise<boolean> {
  return databaseUrl === undefined && (await stores.users.list('', 1)).length === 0
}

/** Drains and ends the process. A later call can only shorten the drain. */
async function leave(exitCode: number, options: DrainOptions): Promise<void> {
  // Nothing has been served yet.
  if (app === undefined) process.exit(exitCode)
  try {
    await app.drain(options)
    finishLog()
    await measure()
  } catch (error) {
    app.log.error({ err: error }, 'some resources could not be closed')
  }
  process.exit(exitCode)
}

/** Exits with status 1: the arbiter has died, or this worker had an uncaught exception. */
function leaveSoon(isStop: boolean): void {
  setTimeout(() => process.exit(1), lastGrace + lastClosing).unref()
  void leave(1, { graceMs: lastGrace, isStop })
}

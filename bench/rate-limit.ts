/**
 * What our store of rate limits buys beside the Redis store of @fastify/rate-limit (plugins/rate-limit.ts):
 *
 *   npm run build && node dist/bench/rate-limit.js [requests]
 *
 * Both applications run on one Redis, with one endpoint that does nothing else, and take turns. `admitted`: each request has an
 * address of its own. `refused`: all have one address, whose limit is used up.
 */
import fastifyRateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Redis } from 'ioredis'
import errors from '../plugins/errors.ts'
import { fields } from '../plugins/fields.ts'
import rateLimit, { callerNetwork, throttled } from '../plugins/rate-limit.ts'
import { loadConfig } from '../src/config/load.ts'
import { openRedisCounters } from '../src/stores/redis/counters.ts'
import { makeNames } from '../src/stores/redis/names.ts'
import { defineScripts } from '../src/stores/redis/scripts.ts'
import { startRedis } from '../test/support/redis.ts'

const [requests, rounds, connections] = [Number(process.argv[2] ?? 4000), 7, 16]

async function openOurs(redis: Redis): Promise<FastifyInstance> {
  defineScripts(redis)
  const stores = { counters: openRedisCounters(redis, makeNames()) }
  const app = Fastify({ schemaController: fields })
  await app.register(errors, { scheme: 'Bearer' })
  await app.register(fp(async (host) => void host.decorate('stores', stores as never), { name: 'stores' }))
  await app.register(rateLimit, { config: loadConfig({ RATE_LIMIT_VERIFY: '100/h' }) })
  app.get('/', { config: { rateLimit: app.rateLimits.verify } }, async () => ({}))
  return app
}

async function openTheirs(redis: Redis): Promise<FastifyInstance> {
  const app = Fastify({ schemaController: fields })
  await app.register(errors, { scheme: 'Bearer' })
  await app.register(fastifyRateLimit, {
    global: false,
    redis,
    skipOnError: true,
    keyGenerator: callerNetwork,
    errorResponseBuilder: (_request, { ttl }) => throttled(ttl / 1000)
  })
  app.get('/', { config: { rateLimit: { max: 100, timeWindow: 3_600_000 } } }, async () => ({}))
  return app
}

let addresses = 0
const nextAddress = (): string => {
  addresses += 1
  return `10.${(addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`
}

async function send(app: FastifyInstance, addressOf: () => string, status: number): Promise<void> {
  let left = requests
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const { statusCode } = await app.inject({ url: '/', remoteAddress: addressOf() })
      if (statusCode !== status) throw new Error(`${statusCode} instead of ${status}`)
    }
  }
  await Promise.all(Array.from({ length: connections }, client))
}

const server = await startRedis()
const redis = new Redis(server.options)

/** Microseconds of CPU a request, of this process and of Redis, and commands a request. */
async function measure(work: () => Promise<void>): Promise<readonly number[]> {
  const read = async (): Promise<readonly [redisCpu: number, commands: number]> => {
    const info = await redis.info()
    const field = (name: string): number => Number(new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1])
    return [1e6 * (field('used_cpu_user') + field('used_cpu_sys')), field('total_commands_processed')]
  }
  const [cpuBefore, commandsBefore] = await read()
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  const [cpu, commands] = await read()
  return [user + system, cpu - cpuBefore, commands - commandsBefore - 1].map((each) => each / requests)
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

const apps = { ours: await openOurs(redis), theirs: await openTheirs(redis) }
const cases = {
  admitted: (app: FastifyInstance) => send(app, nextAddress, 200),
  refused: (app: FastifyInstance) => send(app, () => '192.0.2.1', 429)
}
for (const app of Object.values(apps)) {
  await app.ready()
  for (let each = 0; each < 100; each++) await app.inject({ url: '/', remoteAddress: '192.0.2.1' })
}
console.log(`Node ${process.version}; ${rounds} rounds of ${requests} requests, ${connections} at once; medians`)
console.log('                   CPU µs   Redis µs   commands')
for (const [name, run] of Object.entries(cases)) {
  const results = { ours: [] as (readonly number[])[], theirs: [] as (readonly number[])[] }
  for (let round = 0; round <= rounds; round++)
    for (const side of ['ours', 'theirs'] as const) {
      const figures = await measure(() => run(apps[side]))
      if (round > 0) results[side].push(figures)
    }
  for (const [side, figures] of Object.entries(results)) {
    const columns = [0, 1, 2].map((column) => median(figures.map((each) => each[column] ?? 0)))
    console.log(`${name.padEnd(9)} ${side.padEnd(6)} ${columns.map((each) => each.toFixed(2).padStart(10)).join(' ')}`)
  }
}
await Promise.all(Object.values(apps).map((app) => app.close()))
redis.disconnect()
await server.stop()

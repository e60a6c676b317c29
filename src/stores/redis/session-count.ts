import { Cluster, type Redis } from 'ioredis'
import { type Connection, replies } from './client.ts'
import type { Names } from './names.ts'

/** How many keys of each server are read, which takes Redis about a millisecond. */
const sampleSize = 500

/** How many steps that may take: after many keys have been deleted, a step returns few. */
const maxSteps = 5

/**
 * Estimates the number of sessions from a sample: the position of a key in a SCAN depends on its hash, so the first keys are a
 * random sample of all. Exact if a server has fewer keys than that. Sessions that have expired count until they are deleted.
 */
export async function estimateSessions(redis: Connection, names: Names): Promise<number> {
  const servers = redis instanceof Cluster ? redis.nodes('master') : [redis]
  const counts = await Promise.all(servers.map((server) => estimateOn(server, names)))
  return Math.round(counts.reduce((sum, count) => sum + count, 0))
}

async function estimateOn(server: Redis, names: Names): Promise<number> {
  const [{ keys, isAll }, total] = await Promise.all([sample(server), server.dbsize()])
  const lengths = await lengthsOf(server, keys.filter(names.isSessions))
  // A session has two fields, and a user may have one more.
  const found = lengths.reduce((sum, length) => sum + Math.floor(length / 2), 0)
  return isAll || keys.length === 0 ? found : (found / keys.length) * total
}

async function lengthsOf(server: Redis, keys: readonly string[]): Promise<readonly number[]> {
  const pipeline = server.pipeline()
  for (const key of keys) pipeline.hlen(key)
  return (await replies(pipeline)).map(Number)
}

async function sample(server: Redis): Promise<{ readonly keys: readonly string[]; readonly isAll: boolean }> {
  const keys = new Set<string>()
  let cursor = '0'
  for (let steps = 0; steps < maxSteps && keys.size < sampleSize; steps++) {
    const [next, some] = await server.scan(cursor, 'COUNT', sampleSize)
    for (const key of some) keys.add(key)
    cursor = next
    if (cursor === '0') return { keys: [...keys], isAll: true }
  }
  return { keys: [...keys], isAll: false }
}

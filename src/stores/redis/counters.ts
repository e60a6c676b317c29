import type { Counters } from '../../limits/counters.ts'
import type { Connection } from './client.ts'
import type { Names } from './names.ts'
import { count } from './scripts.ts'

/** Counters in Redis: one command a count. `redis` knows the scripts (openRedisSessions teaches them). */
export const openRedisCounters = (redis: Connection, names: Names): Counters => ({
  add: (name, window) => count(redis, names.counter(name), window)
})

import type { Counters } from '../../limits/counters.ts'
import type { Circuit } from '../circuit.ts'
import { type Connection, makeRedisCircuit } from './client.ts'
import type { Names } from './names.ts'
import { count } from './scripts.ts'

/** How long a request waits for its count, in milliseconds. */
const patienceMs = 250

/** Counters in Redis: one command per count. openRedisSessions has defined the scripts of `redis`. */
export const openRedisCounters = (
  redis: Connection,
  names: Names,
  circuit: Circuit = makeRedisCircuit(redis)
): Counters => ({
  add: (name, window) =>
    circuit.run(() => count(redis, names.counter(name), window), { operation: 'count', patienceMs })
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { openEmbedded } from '../../src/stores/embedded/engine.ts'
import { openEmbeddedSessions } from '../../src/stores/embedded/sessions.ts'
import { makeNames } from '../../src/stores/redis/names.ts'
import { openRedisSessions } from '../../src/stores/redis/sessions.ts'
import { makeManualClock, systemClock } from '../../src/time.ts'
import type { OpenedSessions } from '../conformance/sessions.ts'
import { makeMemorySessions } from '../support/memory.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { type Replacement, readSteppedScript } from './clock.ts'
import { delayPolicy } from './delays.ts'

interface Openable {
  readonly opened: OpenedSessions
  close(): Promise<void>
}

/** How long a revocation matters, in seconds: the feed is not what is tested here. */
const window = 60

/** `decide` itself, as sessions in memory use it. */
export function openMemory(): Openable {
  const clock = makeManualClock()
  // No limit of sessions a user, for which it would look through all of them.
  const store = makeMemorySessions({ ...delayPolicy, maxPerUser: 0 }, clock)
  return {
    opened: { store, now: clock, advance: async (seconds) => clock.advance(seconds) },
    close: () => store.close()
  }
}

export async function openEmbeddedFile(): Promise<Openable> {
  const directory = mkdtempSync(join(tmpdir(), 'delays-'))
  const clock = makeManualClock()
  const engine = openEmbedded(directory)
  const store = await openEmbeddedSessions(engine, delayPolicy, window, clock)
  return {
    opened: { store, now: clock, advance: async (seconds) => clock.advance(seconds) },
    async close() {
      await engine.close()
      rmSync(directory, { recursive: true })
    }
  }
}

let prefixes = 0

/** The scripts as they are but for their clock, and for faults planted into rotate.lua. */
export async function openRedisServer(server: RedisServer, faults: readonly Replacement[] = []): Promise<Openable> {
  const redis = new Redis(server.options)
  const prefix = `delays-${process.pid}-${++prefixes}:`
  const clockKey = `${prefix}clock`
  const clock = makeManualClock(systemClock())
  const advance = async (seconds: number): Promise<void> => {
    clock.advance(seconds)
    await redis.set(clockKey, clock())
  }
  await advance(0)
  const readScript = readSteppedScript(clockKey, { rotate: faults })
  const store = openRedisSessions(redis, delayPolicy, window, { names: makeNames(prefix), clock, readScript })
  return { opened: { store, now: clock, advance }, close: () => store.close() }
}

/** By the name of the store: memory, embedded, or redis, which is then a server of its own. */
export async function openForDelays(store: string): Promise<Openable> {
  if (store === 'memory') return openMemory()
  if (store === 'embedded') return await openEmbeddedFile()
  if (store !== 'redis') throw new Error(`--store: expected memory, embedded or redis, got ${store}`)
  const server = await startRedis({ tcp: true })
  const redis = await openRedisServer(server)
  return {
    ...redis,
    async close() {
      await redis.close()
      await server.stop()
    }
  }
}

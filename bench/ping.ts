/* A process of its own that sends PING to Redis once per millisecond: forked by bench/bulk-revocation.ts, with the URL. */
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'

const redis = new Redis(process.argv[2] ?? '')
let longest = 0

// On each message it reports the longest PING since the last one, in milliseconds.
process.on('message', () => {
  process.send?.(longest)
  longest = 0
})
process.on('disconnect', () => process.exit())

for (;;) {
  const began = performance.now()
  await redis.ping()
  longest = Math.max(longest, performance.now() - began)
  await delay(1)
}

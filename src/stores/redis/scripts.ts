import { readFileSync } from 'node:fs'
import type { Result } from 'ioredis'
import type { Budget } from '../../passwords/guessing.ts'
import type { RotationVerdict } from '../../sessions/rotation.ts'
import type { SessionPolicy } from '../../sessions/session.ts'
import type { Count } from '../../limits/counters.ts'
import type { ForeignToken, PresentedGeneration } from '../../sessions/store.ts'
import type { Connection } from './client.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    keyturnStartBuffer(...args: (string | Buffer | number)[]): Result<[now: number, ended: Buffer[]], Context>
    keyturnAdopt(...args: (string | Buffer | number)[]): Result<0 | 1, Context>
    keyturnRevokeBuffer(...args: (string | Buffer | number)[]): Result<Buffer[], Context>
    keyturnCount(...args: (string | number)[]): Result<[number: number, leftMs: number], Context>
    keyturnAnnounce(...args: (string | Buffer | number)[]): Result<null, Context>
    keyturnSpend(...args: (string | Buffer | number)[]): Result<number, Context>
    keyturnRotate(...args: (string | Buffer | number)[]): Result<RotateReply, Context>
  }
}

type RotateReply = readonly [
  kind: RotationVerdict['kind'] | 'ended',
  generation: number,
  issuedAt: number,
  expiresAt: number
]

/** Gives a script's text by its name. */
export type ReadScript = (name: string) => string

const readLua: ReadScript = (name) => readFileSync(new URL(import.meta.resolve(`#lua/${name}.lua`)), 'utf8')

/** Lua has no Infinity: a grace longer than any time stands for it. */
const graceArgument = (grace: number): number => Math.min(grace, 2 ** 32)

/** Each script with the number of its keys. */
const scripts = { start: 1, adopt: 3, rotate: 1, revoke: 2, announce: 1, count: 1, spend: 1 }

/** Teaches `redis` the scripts: they are sent by their digest, and whole only to a server that does not know them yet. */
export function defineScripts(redis: Connection, read: ReadScript = readLua): void {
  for (const [name, numberOfKeys] of Object.entries(scripts)) {
    redis.defineCommand(`keyturn${name.charAt(0).toUpperCase()}${name.slice(1)}`, { numberOfKeys, lua: read(name) })
  }
}

/** Starts a session: the time by Redis' clock, and the sids that were ended for it. */
export async function start(
  redis: Connection,
  key: string,
  sid: string,
  client: Buffer,
  policy: SessionPolicy
): Promise<{ now: number; ended: readonly string[] }> {
  const bytes = Buffer.from(sid, 'hex')
  const [now, ended] = await redis.keyturnStartBuffer(
    key,
    bytes,
    client,
    policy.lifetime,
    policy.absoluteLifetime,
    policy.maxPerUser,
    bytes.readUInt32BE()
  )
  return { now, ended: ended.map((each) => each.toString('hex')) }
}

/** Starts the session of a refresh token of another issuer; false when that was done before, or may not be. */
export async function adopt(
  redis: Connection,
  [sessions, adopted, ended]: readonly [sessions: string, adopted: string, ended: string],
  { sid, issuedAt, expiresAt }: Omit<ForeignToken, 'userId'>,
  client: Buffer,
  policy: SessionPolicy
): Promise<boolean> {
  const bytes = Buffer.from(sid, 'hex')
  const { lifetime, absoluteLifetime } = policy
  return (
    (await redis.keyturnAdopt(
      sessions,
      adopted,
      ended,
      bytes,
      client,
      lifetime,
      absoluteLifetime,
      issuedAt,
      expiresAt
    )) === 1
  )
}

/** The verdict on a presented generation, carried out; `ended` for a session whose end is not yet in the feed. */
export async function rotate(
  redis: Connection,
  key: string,
  { sid, generation }: PresentedGeneration,
  policy: SessionPolicy
): Promise<RotationVerdict | { readonly kind: 'ended' }> {
  const [kind, number, issuedAt, expiresAt] = await redis.keyturnRotate(
    key,
    Buffer.from(sid, 'hex'),
    generation,
    policy.lifetime,
    graceArgument(policy.grace),
    policy.rotate ? 1 : 0
  )
  if (kind === 'reused' || kind === 'unknown' || kind === 'ended') return { kind }
  return { kind, newest: { number, issuedAt, expiresAt } }
}

/**
 * Marks one session as ended, or all others than that one: the sids that have. `memory` is how long the end of all others
 * is remembered, in whole seconds.
 */
export async function revoke(
  redis: Connection,
  [sessions, allEnded]: readonly [sessions: string, allEnded: string],
  which: 'one' | 'others',
  sid: string,
  memory: number
): Promise<string[]> {
  const ended = await redis.keyturnRevokeBuffer(sessions, allEnded, which, Buffer.from(sid, 'hex'), memory)
  return ended.map((each) => each.toString('hex'))
}

/** Writes ids into the feed; `window` is how long they matter, in whole seconds. */
export async function announce(redis: Connection, feed: string, window: number, ids: readonly string[]): Promise<void> {
  await redis.keyturnAnnounce(feed, window, ...ids.map((id) => Buffer.from(id, 'hex')))
}

/** Counts one more at `key`; `window` is in whole seconds. */
export async function count(redis: Connection, key: string, window: number): Promise<Count> {
  const [number, leftMs] = await redis.keyturnCount(key, window)
  return { number, left: leftMs / 1000 }
}

/** Takes a try from a budget of guesses, or gives one back (-1): 0, or the whole seconds until there is one. */
export const spend = (redis: Connection, guesses: string, { tries, window }: Budget, amount: 1 | -1): Promise<number> =>
  redis.keyturnSpend(guesses, tries, window, amount)

import { readFileSync } from 'node:fs'
import type { Result } from 'ioredis'
import type { Budget } from '../../passwords/guessing.ts'
import type { RotationVerdict } from '../../sessions/rotation.ts'
import type { SessionPolicy } from '../../sessions/session.ts'
import type { Count } from '../../limits/counters.ts'
import type { ForeignToken, PresentedGeneration } from '../../sessions/store.ts'
import type { Connection } from './client.ts'
import type { Names } from './names.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    keyturnStartBuffer(...args: (string | Buffer | number)[]): Result<StartReply, Context>
    keyturnAdoptBuffer(...args: (string | Buffer | number)[]): Result<StartReply | null, Context>
    keyturnRevoke(...args: (string | Buffer | number)[]): Result<0 | 1, Context>
    keyturnDetach(...args: (string | Buffer | number)[]): Result<0 | 1, Context>
    keyturnCount(...args: (string | number)[]): Result<[number: number, leftMs: number], Context>
    keyturnEpoch(...args: (string | number)[]): Result<[second: number, isLoss: 0 | 1, now: number], Context>
    keyturnAnnounce(...args: (string | Buffer | number)[]): Result<null, Context>
    keyturnSpend(...args: (string | Buffer | number)[]): Result<number, Context>
    keyturnRotate(...args: (string | Buffer | number)[]): Result<RotateReply, Context>
  }
}

type StartReply = readonly [now: number, ended: readonly Buffer[], isEnding: 0 | 1]

type RotateReply = readonly [
  kind: RotationVerdict['kind'] | 'ended',
  generation: number,
  issuedAt: number,
  expiresAt: number
]

/** Reads the text of a script. */
export type ReadScript = (name: string) => string

const readLua: ReadScript = (name) => readFileSync(new URL(import.meta.resolve(`#lua/${name}.lua`)), 'utf8')

/** Lua has no Infinity; this is longer than any time, and more sessions than a user can have. */
const finite = (limit: number): number => Math.min(limit, 2 ** 32)

/** The scripts with their numbers of keys, by the files that precede them. */
const startScripts = { start: 2, adopt: 4 }
const sessionScripts = { rotate: 1, revoke: 1, detach: 3 }
const feedScripts = { announce: 2, epoch: 2 }
const otherScripts = { count: 1, spend: 1 }

/** Defines the scripts as commands of `redis`: sent by digest, and in full only to a server that does not have them. */
export function defineScripts(redis: Connection, read: ReadScript = readLua): void {
  const define = (name: string, numberOfKeys: number, lua: string): void =>
    redis.defineCommand(`keyturn${name.charAt(0).toUpperCase()}${name.slice(1)}`, { numberOfKeys, lua })
  const [record, limited, feed] = [read('record'), read('limited'), read('feed')]
  for (const [name, keys] of Object.entries(startScripts)) define(name, keys, `${record}\n${limited}\n${read(name)}`)
  for (const [name, keys] of Object.entries(sessionScripts)) define(name, keys, `${record}\n${read(name)}`)
  for (const [name, keys] of Object.entries(feedScripts)) define(name, keys, `${feed}\n${read(name)}`)
  for (const [name, keys] of Object.entries(otherScripts)) define(name, keys, read(name))
}

/** A session that was started. */
export interface Started {
  /** The time by Redis' clock. */
  readonly now: number
  /** The sids of sessions marked as ended. */
  readonly ended: readonly string[]
  /** Whether an end of all sessions is not finished. */
  readonly isEnding: boolean
}

const toStarted = ([now, ended, isEnding]: StartReply): Started => ({
  now,
  ended: ended.map((each) => each.toString('hex')),
  isEnding: isEnding === 1
})

/** What both scripts that start a session are given. */
function startArguments(sid: string, device: Buffer, policy: SessionPolicy): readonly (Buffer | number)[] {
  const bytes = Buffer.from(sid, 'hex')
  return [bytes, device, policy.lifetime, policy.absoluteLifetime, finite(policy.maxPerUser), bytes.readUInt32BE()]
}

/** Starts a session within the limit of the policy. */
export const start = async (
  redis: Connection,
  keys: readonly [sessions: string, ending: string],
  sid: string,
  device: Buffer,
  policy: SessionPolicy
): Promise<Started> => toStarted(await redis.keyturnStartBuffer(...keys, ...startArguments(sid, device, policy)))

/** The same for a refresh token of another issuer; undefined if it was adopted before, or must not be. */
export async function adopt(
  redis: Connection,
  keys: readonly [sessions: string, ending: string, adopted: string, ended: string],
  { sid, issuedAt, expiresAt }: Omit<ForeignToken, 'userId' | 'lifetime'>,
  device: Buffer,
  policy: SessionPolicy
): Promise<Started | undefined> {
  const common = startArguments(sid, device, policy)
  const reply = await redis.keyturnAdoptBuffer(...keys, ...common, issuedAt, expiresAt)
  return reply === null ? undefined : toStarted(reply)
}

/** Decides on a presented generation and carries it out; `ended` for a session whose end is not in the feed yet. */
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
    finite(policy.grace),
    policy.rotate ? 1 : 0,
    policy.lateRetry
  )
  if (kind === 'reused' || kind === 'unknown' || kind === 'ended') return { kind }
  return { kind, newest: { number, issuedAt, expiresAt } }
}

/** Marks a session as ended; false if it does not exist. */
export const revoke = async (redis: Connection, sessions: string, sid: string): Promise<boolean> =>
  (await redis.keyturnRevoke(sessions, Buffer.from(sid, 'hex'))) === 1

/**
 * Ends all sessions except `kept` by moving them to the second key; false if an earlier end must be finished first. `memory` is how
 * long the time of the end is kept under the third key, in whole seconds.
 */
export const detach = async (
  redis: Connection,
  [sessions, ending, allEnded]: readonly [sessions: string, ending: string, allEnded: string],
  kept: string,
  memory: number
): Promise<boolean> => (await redis.keyturnDetach(sessions, ending, allEnded, Buffer.from(kept, 'hex'), memory)) === 1

/** The keys of the feed. */
export type FeedNames = Pick<Names, 'feed' | 'epoch'>

/** Writes ids to the feed; `window` is how long they are kept, in whole seconds. */
export async function announce(
  redis: Connection,
  { feed, epoch }: FeedNames,
  window: number,
  kind: 'sid' | 'jti',
  ids: readonly string[]
): Promise<void> {
  await redis.keyturnAnnounce(feed, epoch, window, kind, ...ids.map((id) => Buffer.from(id, 'hex')))
}

/** The epoch of the feed, in whole seconds by Redis' clock. */
export interface Epoch {
  /** The feed may lack revocations from before this second; 0 if no data was lost. */
  readonly second: number
  /** Whether data is known to have been lost then; otherwise the server may have been new. */
  readonly isLoss: boolean
  readonly now: number
}

/** `known` is the second that was read before: Redis does not know that it had data once it has lost all of it. */
export async function readEpoch(redis: Connection, names: FeedNames, known: number | undefined): Promise<Epoch> {
  const [second, isLoss, now] = await redis.keyturnEpoch(names.feed, names.epoch, known ?? '')
  return { second, isLoss: isLoss === 1, now }
}

/** Increments the counter at `key`; `window` is in whole seconds. */
export async function count(redis: Connection, key: string, window: number): Promise<Count> {
  const [number, leftMs] = await redis.keyturnCount(key, window)
  return { number, left: leftMs / 1000 }
}

/** Takes a try from a guess budget, or returns one (-1): 0, or the whole seconds until a try is available. */
export const spend = (redis: Connection, guesses: string, { tries, window }: Budget, amount: 1 | -1): Promise<number> =>
  redis.keyturnSpend(guesses, tries, window, amount)

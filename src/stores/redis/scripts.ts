import { readFileSync } from 'node:fs'
import type { Redis, Result } from 'ioredis'
import type { RotationVerdict } from '../../sessions/rotation.ts'
import type { SessionPolicy } from '../../sessions/session.ts'
import type { PresentedGeneration } from '../../sessions/store.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    keyturnStartBuffer(...args: (string | Buffer | number)[]): Result<[now: number, ended: Buffer[]], Context>
    keyturnRevoke(...args: (string | Buffer)[]): Result<number, Context>
    keyturnRotate(...args: (string | Buffer | number)[]): Result<RotateReply, Context>
  }
}

type RotateReply = readonly [kind: RotationVerdict['kind'], generation: number, issuedAt: number, expiresAt: number]

/** Gives a script's text by its name. */
export type ReadScript = (name: string) => string

const readLua: ReadScript = (name) => readFileSync(new URL(import.meta.resolve(`#lua/${name}.lua`)), 'utf8')

/** Lua has no Infinity: a grace longer than any time stands for it. */
const graceArgument = (grace: number): number => Math.min(grace, 2 ** 32)

/** Teaches `redis` the scripts: they are sent by their digest, and whole only to a server that does not know them yet. */
export function defineScripts(redis: Redis, read: ReadScript = readLua): void {
  redis.defineCommand('keyturnStart', { numberOfKeys: 1, lua: read('start') })
  redis.defineCommand('keyturnRevoke', { numberOfKeys: 1, lua: read('revoke') })
  redis.defineCommand('keyturnRotate', { numberOfKeys: 1, lua: read('rotate') })
}

/** Starts a session: the time by Redis' clock, and the sids that were ended for it. */
export async function start(
  redis: Redis,
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

/** The verdict on a presented generation, carried out. */
export async function rotate(
  redis: Redis,
  key: string,
  { sid, generation }: PresentedGeneration,
  policy: SessionPolicy
): Promise<RotationVerdict> {
  const [kind, number, issuedAt, expiresAt] = await redis.keyturnRotate(
    key,
    Buffer.from(sid, 'hex'),
    generation,
    policy.lifetime,
    graceArgument(policy.grace),
    policy.rotate ? 1 : 0
  )
  return kind === 'reused' || kind === 'unknown' ? { kind } : { kind, newest: { number, issuedAt, expiresAt } }
}

/** Ends a session; false when there was none. */
export const revoke = async (redis: Redis, key: string, sid: string): Promise<boolean> =>
  (await redis.keyturnRevoke(key, Buffer.from(sid, 'hex'))) === 1

import { randomId } from '../../random.ts'
import { longestForeignLife, type Session, type SessionPolicy, startSession } from '../../sessions/session.ts'
import { defaultPage, newestOf, type SessionPage, type SessionStore } from '../../sessions/store.ts'
import { type Clock, systemClock } from '../../time.ts'
import type { Circuit } from '../circuit.ts'
import { type Connection, failClosed, makeRedisCircuit, untilReplicated } from './client.ts'
import { FeedEpoch } from './epoch.ts'
import { makeNames, type Names } from './names.ts'
import { estimateSessions } from './session-count.ts'
import { createdAtOf, decodeDevice, decodeRecord, encodeDevice, expiryOf } from './record.ts'
import {
  adopt,
  announce,
  defineScripts,
  detach,
  type ReadScript,
  revoke,
  rotate,
  type Started,
  start
} from './scripts.ts'

export interface RedisSessionsOptions {
  readonly names?: Names
  /** Shared with all other users of the connection. */
  readonly circuit?: Circuit
  /**
   * The clock for reads, which issue no tokens. Changes of sessions use Redis' own clock, so the clocks of hosts may differ.
   */
  readonly clock?: Clock
  /** Shared with the follower of the feed, which reads it continuously. */
  readonly epoch?: FeedEpoch
  /** Tests replace the clock in the scripts. */
  readonly readScript?: ReadScript
}

/** The number of sessions announced with one command, which takes Redis about a millisecond. */
const batch = 200

/** Fields that one HSCAN reads, two per session: less than half a millisecond of Redis, and one of this process. */
const step = 200

/** The cursor at which a scan begins and ends. */
const beginning = '0'

/**
 * Sessions in Redis: one command per login, and one per refresh. `window` is how long a revocation matters, in whole seconds.
 */
export function openRedisSessions(
  redis: Connection,
  policy: SessionPolicy,
  window: number,
  options: RedisSessionsOptions = {}
): SessionStore {
  const { names = makeNames(), circuit = makeRedisCircuit(redis), clock = systemClock, readScript } = options
  const { epoch = new FeedEpoch(names) } = options
  defineScripts(redis, readScript)
  // Fields of a hash do not expire individually.
  const unlessOver = (session: Session | undefined): Session | undefined =>
    session !== undefined && session.expiresAt > clock() ? session : undefined

  const { finish, finishSome, finishOne, endOne, endAll } = makeEnds(redis, names, window, clock)
  /** Finishes what the start of a session has ended, and a step of what another call has left unfinished. */
  const finishStart = async (userId: string, { ended, isEnding }: Started): Promise<void> => {
    await finish(names.sessions(userId), ended)
    if (isEnding) await finishSome(userId, beginning)
  }

  const store = failClosed<Omit<SessionStore, 'close'>>(circuit, {
    async start(userId, device, lifetime = policy.lifetime) {
      const sid = randomId()
      const own = { ...policy, lifetime }
      const keys = [names.sessions(userId), names.ending(userId)] as const
      const started = await start(redis, keys, sid, encodeDevice(device), own)
      await finishStart(userId, started)
      return { session: startSession(userId, sid, device, started.now, own), ended: started.ended }
    },
    ...makeAdoption(redis, names, epoch, { policy, finishStart }),
    async rotate(presented, rotates = policy.rotate) {
      const { userId, sid } = presented
      const verdict = await rotate(redis, names.sessions(userId), presented, { ...policy, rotate: rotates })
      if (verdict.kind === 'reused' || verdict.kind === 'ended') await finish(names.sessions(userId), [sid])
      if (verdict.kind === 'unknown') await finishOne(userId, sid)
      return verdict.kind === 'ended' ? { kind: 'unknown' } : verdict
    },
    async find(userId, sid) {
      const [record, device] = await redis.hmgetBuffer(names.sessions(userId), ...fieldsOf(sid))
      return record ? unlessOver(decodeRecord(userId, sid, record, device ?? null)) : undefined
    },
    list: (userId, page = {}) => listSessions(redis, names.sessions(userId), { ...page, userId, unlessOver }),
    revoke: endOne,
    revokeAll: endAll,
    async revokeToken(jti) {
      await announce(redis, names, window, 'jti', [jti])
      await untilReplicated(redis, names.feed)
    },
    estimateCount: () => estimateSessions(redis, names),
    async ping() {
      await redis.ping()
    }
  })
  // The circuit must not refuse a close.
  return { ...store, close: async () => redis.disconnect() }
}

interface AdoptionParts {
  readonly policy: SessionPolicy
  readonly finishStart: (userId: string, started: Started) => Promise<void>
}

function makeAdoption(
  redis: Connection,
  names: Names,
  epoch: FeedEpoch,
  { policy, finishStart }: AdoptionParts
): Pick<SessionStore, 'adopt' | 'isSpent'> {
  const keysOf = (userId: string, sid: string) =>
    [names.sessions(userId), names.ending(userId), names.adopted(userId, sid), names.ended(userId)] as const
  return {
    async adopt(token, device, { endsOthers = true } = {}) {
      const { userId, sid, issuedAt, lifetime = policy.lifetime } = token
      if (await epoch.isLostSince(redis, issuedAt)) return false
      const own = { ...policy, lifetime, ...(endsOthers ? {} : { maxPerUser: Infinity }) }
      const started = await adopt(redis, keysOf(userId, sid), token, encodeDevice(device), own)
      if (started !== undefined) await finishStart(userId, started)
      return started !== undefined
    },
    async isSpent({ userId, sid, issuedAt }) {
      const [adopted, ended] = await redis.mget(names.adopted(userId, sid), names.ended(userId))
      if (adopted != null || (ended != null && issuedAt <= Number(ended))) return true
      return await epoch.isLostSince(redis, issuedAt)
    }
  }
}

/** Ends sessions, and finishes the end of those that the scripts have marked as ended or set aside. */
function makeEnds(redis: Connection, names: Names, window: number, clock: Clock) {
  const announceEnds = (key: string, sids: readonly string[]) => announceSessions(redis, names, window, key, sids)

  /** Announces sessions that have ended to every worker, and then deletes them from the hash at `key`. */
  const finish = async (key: string, sids: readonly string[]): Promise<void> => {
    await announceEnds(key, sids)
    if (sids.length > 0) await redis.hdel(key, ...sids.flatMap(fieldsOf))
  }

  /**
   * Finishes the end of some of the sessions that lua/detach.lua has set aside, from a cursor on. Returns the next cursor and
   * the sids.
   */
  const finishSome = async (userId: string, cursor: string): Promise<{ next: string; sids: readonly string[] }> => {
    const key = names.ending(userId)
    const { next, records, fields } = await scan(redis, key, cursor)
    const sids = records.filter(([, record]) => expiryOf(record) > clock()).map(([field]) => field.toString('hex'))
    await announceEnds(key, sids)
    if (fields.length > 0) await redis.hdel(key, ...fields)
    return { next, sids }
  }

  const finishAll = async (userId: string, ended: string[]): Promise<void> => {
    let cursor = beginning
    do {
      const { next, sids } = await finishSome(userId, cursor)
      for (const sid of sids) ended.push(sid)
      cursor = next
    } while (cursor !== beginning)
  }

  /** The same for one session; false if it has not been set aside. */
  const finishOne = async (userId: string, sid: string): Promise<boolean> => {
    const [field] = fieldsOf(sid)
    const [record] = field.length === 16 ? await redis.hmgetBuffer(names.ending(userId), field) : []
    const isThere = record != null
    if (isThere) await finish(names.ending(userId), [sid])
    return isThere
  }

  const endOne = async (userId: string, sid: string): Promise<boolean> => {
    const key = names.sessions(userId)
    if (!(await revoke(redis, key, sid))) return await finishOne(userId, sid)
    await finish(key, [sid])
    return true
  }

  const endAll = async (userId: string, kept = ''): Promise<readonly string[]> => {
    const keys = [names.sessions(userId), names.ending(userId), names.ended(userId)] as const
    const ended: string[] = []
    for (let isDone = false; !isDone; ) {
      isDone = await detach(redis, keys, kept, longestForeignLife)
      await finishAll(userId, ended)
    }
    await untilReplicated(redis, names.ended(userId))
    return ended
  }

  return { finish, finishSome, finishOne, endOne, endAll }
}

/** Announces sessions of the hash at `key` that have ended to every worker, and waits for replicas of both. */
async function announceSessions(
  redis: Connection,
  names: Names,
  window: number,
  key: string,
  sids: readonly string[]
): Promise<void> {
  if (sids.length === 0) return
  for (let first = 0; first < sids.length; first += batch)
    await announce(redis, names, window, 'sid', sids.slice(first, first + batch))
  await Promise.all([untilReplicated(redis, key), untilReplicated(redis, names.feed)])
}

interface ListOptions extends SessionPage {
  readonly userId: string
  readonly unlessOver: (session: Session | undefined) => Session | undefined
}

async function listSessions(
  redis: Connection,
  key: string,
  { userId, unlessOver, limit = defaultPage, after }: ListOptions
): Promise<readonly Session[]> {
  let page: readonly Session[] = []
  let cursor = beginning
  do {
    const { next, records } = await scan(redis, key, cursor)
    // Most sessions of a long list are older than a full page, and are skipped without decoding.
    const oldest = page.length < limit ? 0 : (page.at(-1)?.createdAt ?? 0)
    const met = records
      .filter(([, record]) => createdAtOf(record) >= oldest)
      .map(([field, record]) => unlessOver(decodeRecord(userId, field.toString('hex'), record, null)))
    page = newestOf([...page, ...met.filter((session) => session !== undefined)], limit, after)
    cursor = next
  } while (cursor !== beginning)
  return await withDevices(redis, key, page)
}

async function withDevices(redis: Connection, key: string, sessions: readonly Session[]): Promise<readonly Session[]> {
  if (sessions.length === 0) return sessions
  const devices = await redis.hmgetBuffer(key, ...sessions.map(({ sid }) => fieldsOf(sid)[1]))
  return sessions.map((session, index) => ({ ...session, device: decodeDevice(devices[index] ?? null) }))
}

/** The two fields of a session: its record and its device. */
function fieldsOf(sid: string): [record: Buffer, device: Buffer] {
  const bytes = Buffer.from(sid, 'hex')
  return [bytes, Buffer.concat([bytes, Buffer.from('c')])]
}

interface Scanned {
  readonly next: string
  /** The records, each with the field of its session. */
  readonly records: readonly (readonly [field: Buffer, record: Buffer])[]
  /** The names of all fields. */
  readonly fields: readonly Buffer[]
}

/** One step of a scan of a hash of sessions. A field may be returned twice; one that exists throughout is returned at least once. */
async function scan(redis: Connection, key: string, cursor: string): Promise<Scanned> {
  const [next, flat] = await redis.hscanBuffer(key, cursor, 'COUNT', step)
  const fields = flat.filter((_, index) => index % 2 === 0)
  const records = fields.flatMap((field, index) =>
    field.length === 16 ? [[field, flat[2 * index + 1] as Buffer] as const] : []
  )
  return { next: next.toString(), records, fields }
}

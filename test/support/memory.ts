/** Stores in memory, for tests of the flows. The conformance suites run over them too (test/src/stores/memory.test.ts). */
import { randomUUID } from 'node:crypto'
import { maxExpiredPerPut, type OneTimeTokenStore } from '../../src/one-time-tokens/store.ts'
import type { OneTimeToken } from '../../src/one-time-tokens/token.ts'
import { randomId } from '../../src/random.ts'
import { decide } from '../../src/sessions/rotation.ts'
import { type Session, type SessionPolicy, startSession } from '../../src/sessions/session.ts'
import type { ForeignToken, SessionStore } from '../../src/sessions/store.ts'
import type { Clock } from '../../src/time.ts'
import type { UserStore } from '../../src/users/store.ts'
import { normalizeUsername, type User } from '../../src/users/user.ts'

/** Sessions that one login ends at most. */
const mostEnded = 200

type Position = Pick<Session, 'createdAt' | 'sid'>

const newestFirst = (a: Position, b: Position): number =>
  b.createdAt - a.createdAt || Number(a.sid < b.sid) - Number(a.sid > b.sid)

/** What session stores in memory keep, so that several can share it. Times are whole seconds since 1970. */
export interface SessionMemory {
  readonly sessions: Map<string, Session>
  /** Adopted tokens, by their sid: until when they are remembered. */
  readonly adopted: Map<string, number>
  /** When all sessions of a user were ended. */
  readonly allEnded: Map<string, number>
}

export const makeSessionMemory = (): SessionMemory => ({ sessions: new Map(), adopted: new Map(), allEnded: new Map() })

/** `announce` is given what is revoked. */
export function makeMemorySessions(
  policy: SessionPolicy,
  clock: Clock,
  { sessions, adopted, allEnded }: SessionMemory = makeSessionMemory(),
  announce: (ids: readonly string[]) => void = () => {}
): SessionStore {
  const find = (userId: string, sid: string): Session | undefined => {
    const session = sessions.get(sid)
    return session?.userId === userId && session.expiresAt > clock() ? session : undefined
  }
  const list = (userId: string): readonly Session[] =>
    [...sessions.values()].filter((each) => each.userId === userId && find(userId, each.sid)).toSorted(newestFirst)
  const end = (ended: readonly string[]): readonly string[] => {
    for (const sid of ended) sessions.delete(sid)
    announce(ended)
    return ended
  }
  const isEndedSince = ({ userId, issuedAt }: ForeignToken): boolean =>
    issuedAt <= (allEnded.get(userId) ?? Number.NEGATIVE_INFINITY)
  const endSurplus = (userId: string): readonly string[] => {
    const beyond = policy.maxPerUser === 0 ? [] : list(userId).slice(policy.maxPerUser).slice(-mostEnded)
    return end(beyond.map(({ sid }) => sid))
  }
  return {
    async start(userId, client, lifetime = policy.lifetime) {
      const session = startSession(userId, randomId(), client, clock(), { ...policy, lifetime })
      sessions.set(session.sid, session)
      return { session, ended: endSurplus(userId) }
    },
    async adopt(token, client, { endsOthers = true } = {}) {
      const { userId, sid, expiresAt } = token
      if ((adopted.get(sid) ?? 0) > clock()) return false
      adopted.set(sid, expiresAt)
      if (isEndedSince(token)) return false
      sessions.set(sid, startSession(userId, sid, client, clock(), policy))
      if (endsOthers) endSurplus(userId)
      return true
    },
    async isSpent(token) {
      return (adopted.get(token.sid) ?? 0) > clock() || isEndedSince(token)
    },
    async rotate({ userId, sid, generation }, rotates = policy.rotate) {
      const { verdict, session } = decide(find(userId, sid), generation, clock(), { ...policy, rotate: rotates })
      if (session !== undefined) sessions.set(sid, session)
      else if (verdict.kind === 'reused') end([sid])
      return verdict
    },
    async find(userId, sid) {
      return find(userId, sid)
    },
    async list(userId, { limit = 100, after }: { limit?: number; after?: Position | undefined } = {}) {
      const wanted = list(userId).filter((each) => after === undefined || newestFirst(after, each) < 0)
      return wanted.slice(0, limit)
    },
    async revoke(userId, sid) {
      const isLive = find(userId, sid) !== undefined
      if (isLive) end([sid])
      return isLive
    },
    async revokeAll(userId, kept) {
      allEnded.set(userId, clock())
      return end(list(userId).flatMap(({ sid }) => (sid === kept ? [] : [sid])))
    },
    async revokeToken(jti) {
      announce([jti])
    },
    async estimateCount() {
      return [...sessions.values()].filter(({ expiresAt }) => expiresAt > clock()).length
    },
    async ping() {},
    async close() {}
  }
}

/** Users whose id is a UUID. */
export function makeMemoryUsers(clock: Clock): UserStore {
  const users = new Map<string, User>()
  const change = (id: string, changes: Partial<User>): boolean => {
    const user = users.get(id)
    if (user !== undefined) users.set(id, { ...user, ...changes })
    return user !== undefined
  }
  const findByUsername = (username: string): User | undefined =>
    [...users.values()].find((user) => user.username === normalizeUsername(username))
  return {
    async findByUsername(username) {
      return findByUsername(username)
    },
    async findById(id) {
      return users.get(id)
    },
    async create(username, passwordHash) {
      if (findByUsername(username) !== undefined) return undefined
      const user: User = {
        id: randomUUID(),
        username: normalizeUsername(username),
        passwordHash,
        isActive: true,
        createdAt: clock(),
        lastLoginAt: undefined,
        claims: {}
      }
      users.set(user.id, user)
      return user
    },
    async rename(id, username) {
      if (!users.has(id)) return 'missing'
      const holder = findByUsername(username)
      if (holder !== undefined && holder.id !== id) return 'taken'
      change(id, { username: normalizeUsername(username) })
      return 'renamed'
    },
    async setPassword(id, passwordHash) {
      return change(id, { passwordHash })
    },
    async replacePasswordHash(id, verified, passwordHash) {
      return users.get(id)?.passwordHash === verified && change(id, { passwordHash })
    },
    async drawPasswordHashes(lot) {
      const sorted = [...users.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
      const first = sorted.findIndex(({ id }) => id >= lot.toFixed(15).slice(2))
      const from = first === -1 ? sorted.length : first
      return [...sorted.slice(from), ...sorted.slice(0, from)].slice(0, 8).map((user) => user.passwordHash)
    },
    async setActive(id, isActive) {
      return change(id, { isActive })
    },
    async recordLogin(id) {
      change(id, { lastLoginAt: clock() })
    },
    async setClaims(id, claims) {
      return change(id, { claims })
    },
    async delete(id) {
      return users.delete(id)
    },
    async demandDelete() {},
    async list(afterUsername, limit) {
      if (afterUsername.includes('\0')) return []
      const byName = [...users.values()].toSorted((a, b) => (a.username < b.username ? -1 : 1))
      return byName.filter(({ username }) => username > afterUsername).slice(0, limit)
    }
  }
}

/** The same users; each change that finds a user is passed to `record`, with the user's id. */
export function withRecord(users: UserStore, record: (userId: string) => void): UserStore {
  const recorded = async <T>(change: Promise<T>, userId: (outcome: T) => string | undefined): Promise<T> => {
    const outcome = await change
    const id = userId(outcome)
    if (id !== undefined) record(id)
    return outcome
  }
  return {
    ...users,
    create: (username, digest) => recorded(users.create(username, digest), (user) => user?.id),
    setPassword: (id, digest) => recorded(users.setPassword(id, digest), (isSet) => (isSet ? id : undefined)),
    setActive: (id, isActive) => recorded(users.setActive(id, isActive), (isSet) => (isSet ? id : undefined)),
    setClaims: (id, claims) => recorded(users.setClaims(id, claims), (isSet) => (isSet ? id : undefined)),
    delete: (id) => recorded(users.delete(id), (isDeleted) => (isDeleted ? id : undefined)),
    rename: (id, name) => recorded(users.rename(id, name), (outcome) => (outcome === 'renamed' ? id : undefined))
  }
}

export function makeMemoryOneTimeTokens(clock: Clock): OneTimeTokenStore {
  const tokens = new Map<string, OneTimeToken>()
  const find = (hash: string): OneTimeToken | undefined => {
    const token = tokens.get(hash)
    return token !== undefined && token.expiresAt > clock() ? token : undefined
  }
  const isExpired = ({ expiresAt }: OneTimeToken): boolean => expiresAt <= clock()
  const remove = (isOld: (token: OneTimeToken) => boolean): void => {
    for (const token of tokens.values()) if (isOld(token)) tokens.delete(token.hash)
  }
  return {
    async put(token) {
      remove(({ userId, purpose }) => userId === token.userId && purpose === token.purpose)
      tokens.set(token.hash, token)
      for (const { hash } of [...tokens.values()].filter(isExpired).slice(0, maxExpiredPerPut)) tokens.delete(hash)
    },
    async find(hash) {
      return find(hash)
    },
    async take(hash, purpose) {
      const token = find(hash)
      if (token?.purpose !== purpose) return undefined
      tokens.delete(hash)
      return token
    },
    async deleteOf(userId) {
      remove((token) => token.userId === userId)
    }
  }
}

/* What is compared with what, and how far apart the two may be: one row per scenario, in the order in which they run. */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Scope } from '../test/faults/worlds.ts'
import { openRedisSessions } from '../src/stores/redis/sessions.ts'
import { aDevice, aPolicy } from '../test/support/makers.ts'
import { startRedis } from '../test/support/redis.ts'
import type { Load } from './client.ts'
import { redisMemory, type Side } from './measure.ts'
import {
  openEmbeddedKeyturn,
  openFloor,
  openKeyturn,
  openSide,
  refreshBodies,
  requireSameAnswers,
  type Service,
  type Stage
} from './sides.ts'

export interface Pair {
  readonly floor: Side
  readonly ours: Side
  /** Further results, printed below the table. */
  readonly notes?: readonly string[]
}

/** Ours by the floor: CPU and p99 at most so much, the rate at least. */
export type Target = Readonly<Partial<Record<'cpu' | 'rate' | 'p99', number>>>

export interface Scenario {
  readonly name: string
  readonly ours: string
  readonly floor: string
  readonly target: Target
  open(scope: Scope, stage: Stage): Promise<Pair>
}

/* Requests */

const json = { 'content-type': 'application/json' }
/** How many requests are under way at once, except for logins. */
const connections = Number(process.env.CONNECTIONS ?? 16)

const asVerification = (token: string): string => JSON.stringify({ token })

export const verifications = (path: string, tokens: readonly string[]): Load => ({
  method: 'POST',
  path,
  headers: json,
  bodies: tokens.map(asVerification),
  connections,
  expects: '^\\{\\}$'
})

const refreshes = (path: string, bodies: readonly string[]): Load => ({
  method: 'POST',
  path,
  headers: json,
  bodies,
  connections,
  expects: '"access":"[\\w.-]{100,}"'
})

export const chain = (bodies: readonly string[]): Load => ({
  ...refreshes('/api/token/refresh/', bodies),
  isChain: true
})

/** Four at once keep one hasher busy. */
const logins = (path: string, bodies: readonly string[], expects: string): Load => ({
  method: 'POST',
  path,
  headers: json,
  bodies,
  connections: 4,
  expects
})

const passes = (path: string, token: string): Load => ({
  method: 'GET',
  path,
  headers: { authorization: `Bearer ${token}` },
  bodies: Array.from({ length: connections }, () => ''),
  connections,
  expects: '^\\{\\}$'
})

const introspections = ({ authorization, mintAccess }: Stage, path: string): Load => ({
  method: 'POST',
  path,
  headers: { 'content-type': 'application/x-www-form-urlencoded', authorization },
  bodies: mintAccess(500).map((token) => `token=${token}`),
  connections,
  expects: '"active":true.*"username":"user-'
})

export const allLogins = ({ credentials }: Stage): Load =>
  logins('/api/token/', credentials, '"refresh":"[\\w.-]{100,}"')

/* The sides */

/** The floor's endpoint against ours, with a load each. */
async function againstFloor(scope: Scope, stage: Stage, floor: Load, ours: Load): Promise<Pair> {
  const services = { floor: await openFloor(scope, stage), ours: await openKeyturn(scope, stage) }
  await requireSameAnswers({ service: services.floor, load: floor }, { service: services.ours, load: ours })
  return { floor: await openSide(scope, services.floor, floor), ours: await openSide(scope, services.ours, ours) }
}

/** A chain of refreshes against the floor's. */
async function refreshAgainst(scope: Scope, stage: Stage, path: string, keyturn: Service): Promise<Pair> {
  const floor = await openFloor(scope, stage)
  const bodies = await refreshBodies(stage, keyturn)
  const [low, high] = [refreshes(path, bodies), chain(bodies)]
  await requireSameAnswers({ service: floor, load: low }, { service: keyturn, load: high })
  return { floor: await openSide(scope, floor, low), ours: await openSide(scope, keyturn, high) }
}

/** Two Keyturns that differ in their settings, and verify the same tokens. */
async function againstItself(scope: Scope, stage: Stage, settings: Record<string, string>): Promise<Pair> {
  const load = verifications('/api/token/verify/', stage.mintAccess(500))
  return {
    floor: await openSide(scope, await openKeyturn(scope, stage), load),
    ours: await openSide(scope, await openKeyturn(scope, stage, settings), load)
  }
}

/** The store refuses more calls at once (src/stores/circuit.ts). */
const maxCalls = 500

/** Adds sessions of users of their own, with the code of a login. Bytes of Redis for each. */
async function addSessions(url: string, count: number): Promise<number> {
  const batch = maxCalls
  const redis = new Redis(url, { enableAutoPipelining: true })
  try {
    const sessions = openRedisSessions(redis, aPolicy(), 300)
    const addBatch = () => Promise.all(Array.from({ length: batch }, () => sessions.start(randomUUID(), aDevice)))
    // The first batch brings the scripts and the buffers of the connection too, which do not belong to a session.
    await addBatch()
    const before = await redisMemory(redis)
    for (let made = batch; made < count; made += batch) await addBatch()
    return ((await redisMemory(redis)) - before) / (count - batch)
  } finally {
    redis.disconnect()
  }
}

/** A Keyturn with so many live sessions, a hundred of which are refreshed in turn. */
async function openAmong(scope: Scope, stage: Stage, count: number): Promise<{ side: Side; note: string }> {
  const redis = await startRedis({ tcp: true })
  scope.teardown(() => redis.stop())
  const bytes = await addSessions(redis.url, count)
  const keyturn = await openKeyturn(scope, stage, { REDIS_URL: redis.url })
  const side = await openSide(scope, keyturn, chain(await refreshBodies(stage, keyturn)))
  return { side, note: `${count.toLocaleString('en')} live sessions: ${bytes.toFixed(0)} bytes of Redis for each` }
}

/** Users with a thousand sessions each against users with one, on a Redis of their own. */
async function amongOwnSessions(scope: Scope, stage: Stage, load: (keyturn: Service) => Promise<Load>): Promise<Pair> {
  const open = async (maxPerUser: number): Promise<Side> => {
    const redis = await startRedis({ tcp: true })
    scope.teardown(() => redis.stop())
    await addSessionsOfUsers(redis.url, stage.credentials.length, maxPerUser)
    const settings = { REDIS_URL: redis.url, MAX_SESSIONS_PER_USER: String(maxPerUser) }
    const keyturn = await openKeyturn(scope, stage, settings)
    return openSide(scope, keyturn, await load(keyturn))
  }
  return { floor: await open(1), ours: await open(1000) }
}

async function addSessionsOfUsers(url: string, users: number, each: number): Promise<void> {
  const redis = new Redis(url, { enableAutoPipelining: true })
  const sessions = openRedisSessions(redis, aPolicy({ maxPerUser: each }), 300)
  const batch = Math.min(each, maxCalls)
  for (let user = 0; user < users; user++)
    for (let made = 0; made < each; made += batch)
      await Promise.all(Array.from({ length: batch }, () => sessions.start(`${user}`, aDevice)))
  redis.disconnect()
}

const manySessions = Number(process.env.SESSIONS ?? 1_000_000)

export const scenarios: readonly Scenario[] = [
  {
    name: 'verify-cached',
    ours: 'verify, 500 tokens in turn, all seen before',
    floor: 'a POST',
    target: { cpu: 1.3 },
    open(scope, stage) {
      const tokens = stage.mintAccess(500)
      return againstFloor(scope, stage, verifications('/verify', tokens), verifications('/api/token/verify/', tokens))
    }
  },
  {
    name: 'verify-new',
    // More than plugins/jwt.ts remembers.
    ours: 'verify, 6,000 tokens of ES256 in turn, none cached',
    floor: 'a POST, one verify of node:crypto, JSON.parse of the payload',
    target: { cpu: 1.15 },
    open(scope, stage) {
      const tokens = stage.mintAccess(6000)
      return againstFloor(
        scope,
        stage,
        verifications('/verify-signature', tokens),
        verifications('/api/token/verify/', tokens)
      )
    }
  },
  {
    name: 'refresh',
    ours: 'refresh with rotation, each with the token of the previous response',
    floor: 'a POST, two HMACs, the user from PostgreSQL, one EVALSHA, one ES256 signature',
    target: { cpu: 1.5 },
    open: async (scope, stage) => refreshAgainst(scope, stage, '/refresh', await openKeyturn(scope, stage))
  },
  {
    name: 'embedded',
    ours: 'the same, on the embedded database',
    floor: 'a POST, two HMACs, the user and the session from SQLite, one transaction on disk, one ES256 signature',
    target: { cpu: 1.5 },
    open: async (scope, stage) =>
      refreshAgainst(scope, stage, '/refresh-embedded', await openEmbeddedKeyturn(scope, stage))
  },
  {
    name: 'obtain',
    ours: 'logins, one hasher',
    floor:
      'a POST, the user from PostgreSQL, argon2 with the same parameters, one at a time, one EVALSHA, the signatures',
    target: { rate: 0.97 },
    open(scope, stage) {
      const { credentials } = stage
      return againstFloor(scope, stage, logins('/obtain', credentials, '"refresh":"[\\w.-]{100,}"'), allLogins(stage))
    }
  },
  {
    name: 'forward-auth',
    ours: 'forward-auth, one token',
    floor: 'a GET',
    target: { cpu: 1.3 },
    open(scope, stage) {
      const [token = ''] = stage.mintAccess(1)
      return againstFloor(scope, stage, passes('/forward-auth', token), passes('/api/token/forward-auth/', token))
    }
  },
  {
    name: 'introspect',
    ours: 'introspect by a client with its secret, 500 tokens in turn',
    floor: 'a POST of a form, SHA-256 of the secret, the claims as JSON',
    target: { cpu: 1.5 },
    open: (scope, stage) =>
      againstFloor(scope, stage, introspections(stage, '/introspect'), introspections(stage, '/oauth/introspect'))
  },
  {
    name: 'two-workers',
    ours: 'verify-cached, two workers',
    floor: 'one worker',
    target: { cpu: 1.05 },
    open: (scope, stage) => againstItself(scope, stage, { WEB_CONCURRENCY: '2' })
  },
  {
    name: 'sessions',
    ours: `refresh among ${manySessions.toLocaleString('en')} live sessions`,
    floor: 'among 1,000',
    target: { cpu: 1.05 },
    async open(scope, stage) {
      const [few, many] = [await openAmong(scope, stage, 1000), await openAmong(scope, stage, manySessions)]
      return { floor: few.side, ours: many.side, notes: [few.note, many.note] }
    }
  },
  {
    name: 'one-user',
    ours: 'refresh of a user with 1,000 sessions, the limit',
    floor: 'of a user with one session',
    target: { cpu: 1.2 },
    open: (scope, stage) =>
      amongOwnSessions(scope, stage, async (keyturn) => chain(await refreshBodies(stage, keyturn)))
  },
  {
    name: 'one-user-login',
    ours: 'login of a user with 1,000 sessions, the limit',
    floor: 'of a user with one session',
    target: { cpu: 1.2 },
    open: (scope, stage) => amongOwnSessions(scope, stage, async () => allLogins(stage))
  },
  {
    name: 'access-log',
    ours: 'verify-cached, a line for each request into a pipe',
    floor: 'no such lines',
    target: { cpu: 1.1 },
    open: (scope, stage) => againstItself(scope, stage, { LOG_LEVEL: 'info' })
  }
]

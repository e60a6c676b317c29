/**
 * One call that ends the sessions of 10,000 users (POST /api/admin/sessions/revoke/): two workers on Redis and PostgreSQL.
 *
 *   npm run build && npm run build:packages && node dist/bench/bulk-revocation.js [rounds] [users]
 *
 * 1. Seconds from the request to its answer, and the CPU seconds that the service's processes need for it.
 * 2. How long Redis was blocked: its longest command, as its slow log has it, and the longest PING of a process that sends one each
 *    millisecond, which also waits for its share of the machine.
 * 3. Milliseconds from the answer until all connections to the workers, and all verifiers of packages/verifier, refuse the access
 *    tokens of the users that log in here, one in a thousand and the last of all. 0: they refused already when the answer came.
 *
 * Service, verifiers and this process share the machine.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { availableParallelism, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { randomId } from '../src/random.ts'
import { openRedisStore } from '../src/stores/redis/open.ts'
import { openScope } from '../test/faults/worlds.ts'
import { basic } from '../test/support/client.ts'
import { aDevice, aPolicy } from '../test/support/makers.ts'
import { isAccepted, openVerifiers, type Verifier } from '../test/support/verifiers.ts'
import { cpuOf, quantile } from './measure.ts'
import { type Client, createClient, openIssuer, type Service } from './service.ts'

const [rounds, users] = [Number(process.argv[2] ?? 5), Number(process.argv[3] ?? 10_000)]
const [verifierCount, connectionCount] = [3, 16]
/** One in so many users logs in; the others have sessions only. */
const sampleEvery = 1000
const password = 'a password of the benchmark'
/** How long a revocation matters, in seconds. */
const window = 360

interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: bodies have several shapes
  readonly body: any
}

/** POSTs JSON over a connection of `agent`. */
function post(agent: Agent, url: string, body: object, authorization?: string): Promise<Answer> {
  const headers = { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) }
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', agent, headers }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString()
      resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) })
    })
    asked.on('error', reject)
    asked.end(JSON.stringify(body))
  })
}

const pooled = new Agent({ keepAlive: true })

async function grantToken({ url }: Service, { id, secret }: Client): Promise<string> {
  const headers = { authorization: basic(id, secret) }
  const body = new URLSearchParams({ grant_type: 'client_credentials' })
  const answer = await fetch(`${url}/oauth/token`, { method: 'POST', headers, body })
  return `Bearer ${((await answer.json()) as { access_token: string }).access_token}`
}

/** Users who log in: their ids. */
async function createUsers({ url }: Service, authorization: string): Promise<ReadonlyMap<string, string>> {
  const created = new Map<string, string>()
  for (let each = 0; each <= users / sampleEvery; each++) {
    const username = `user-${each}`
    const { status, body } = await post(pooled, `${url}/api/admin/users/`, { username, password }, authorization)
    if (status !== 201) throw new Error(`${status}: ${JSON.stringify(body)}`)
    created.set(username, body.id)
  }
  return created
}

/** All users of a round, each with a session; and access tokens of those who logged in. */
async function startSessions(service: Service, logins: ReadonlyMap<string, string>) {
  const { sessions } = await openRedisStore(service.settings.REDIS_URL ?? '', {
    verifyTls: false,
    window,
    policy: aPolicy({ lifetime: 86_400, absoluteLifetime: 86_400 })
  })
  const ids: string[] = []
  const tokens: string[] = []
  for (const [username, id] of logins) {
    const { status, body } = await post(pooled, `${service.url}/api/token/`, { username, password })
    if (status !== 200) throw new Error(`a login answered ${status}`)
    tokens.push(body.access)
    const others = Array.from({ length: ids.length === 0 ? 0 : sampleEvery - 1 }, randomId)
    for (let first = 0; first < others.length; first += 100)
      await Promise.all(others.slice(first, first + 100).map((other) => sessions.start(other, aDevice)))
    ids.push(...others, id)
  }
  await sessions.close()
  return { ids: ids.slice(-users), tokens: tokens.slice(-Math.ceil(users / sampleEvery)) }
}

/** Whether a token is accepted. Throws unless it is accepted or refused. */
type Check = (token: string) => Promise<boolean>

/** So many connections, which the workers share. */
function checksOfWorkers({ url }: Service): readonly Check[] {
  return Array.from({ length: connectionCount }, () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    return async (token: string) => {
      const { status } = await post(agent, `${url}/api/token/verify/`, { token })
      if (status !== 200 && status !== 401) throw new Error(`verify answered ${status}`)
      return status === 200
    }
  })
}

const checksOfVerifiers = (verifiers: readonly Verifier[]): readonly Check[] =>
  verifiers.map((verifier) => (token: string) => isAccepted(verifier, token))

/** Milliseconds from `answered` until all checks have refused all tokens; 0 if none accepted one after it. */
async function lastAcceptance(checks: readonly Check[], tokens: readonly string[], answered: number): Promise<number> {
  const watch = async (check: Check): Promise<number> => {
    let refusedAt = 0
    for (const token of tokens) while (await check(token)) refusedAt = performance.now() - answered
    return refusedAt
  }
  return Math.max(...(await Promise.all(checks.map(watch))))
}

async function demandAccepted(checks: readonly Check[], tokens: readonly string[]): Promise<void> {
  for (const check of checks)
    for (const token of tokens) if (!(await check(token))) throw new Error('a valid token was refused')
}

interface Outcome {
  readonly seconds: number
  readonly cpu: number
  readonly slowestCommand: number
  readonly longestPing: number
  readonly workers: number
  readonly verifiers: number
}

const scope = openScope()
try {
  const service = await openIssuer(scope, {
    ARGON2_MEMORY: '8192',
    ARGON2_TIME: '1',
    RATE_LIMIT_OBTAIN: 'off'
  })
  const client = await createClient(service, 'keyturn.sessions keyturn.users keyturn.revocations')
  const logins = await createUsers(service, await grantToken(service, client))
  const [workers, verifiers] = [
    checksOfWorkers(service),
    checksOfVerifiers(await openVerifiers(scope, verifierCount, { issuer: service.url, client }))
  ]
  const redis = new Redis(service.settings.REDIS_URL ?? '')
  scope.teardown(() => redis.disconnect())
  await redis.config('SET', 'slowlog-log-slower-than', 100)
  await redis.config('SET', 'slowlog-max-len', 10_000)
  const pings = fork(fileURLToPath(new URL('./ping.js', import.meta.url)), [service.settings.REDIS_URL ?? ''])
  scope.teardown(() => pings.kill())
  const longestPing = async (): Promise<number> => {
    pings.send('longest')
    return Number((await once(pings, 'message'))[0])
  }

  const measure = async (): Promise<Outcome> => {
    const { ids, tokens } = await startSessions(service, logins)
    await demandAccepted([...workers, ...verifiers], tokens)
    const authorization = await grantToken(service, client)
    await redis.slowlog('RESET')
    await longestPing()
    const [began, cpuBefore] = [performance.now(), cpuOf(service.pid)]
    const call = await post(pooled, `${service.url}/api/admin/sessions/revoke/`, { user_ids: ids }, authorization)
    const answered = performance.now()
    const cpu = cpuOf(service.pid) - cpuBefore
    if (call.status !== 200 || call.body.users !== users)
      throw new Error(`${call.status}: ${JSON.stringify(call.body)}`)
    const [atWorkers, atVerifiers] = await Promise.all(
      [workers, verifiers].map((checks) => lastAcceptance(checks, tokens, answered))
    )
    const log = (await redis.slowlog('GET', 10_000)) as readonly (readonly [number, number, number])[]
    return {
      seconds: (answered - began) / 1000,
      cpu,
      slowestCommand: Math.max(0, ...log.map(([, , micros]) => micros)) / 1000,
      longestPing: await longestPing(),
      workers: atWorkers ?? Number.NaN,
      verifiers: atVerifiers ?? Number.NaN
    }
  }

  console.log(`${users} users, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)} at the start`)
  const outcomes: Outcome[] = []
  for (let round = 0; round < rounds; round++) outcomes.push(await measure())
  const show = (name: keyof Outcome, digits: number): string => {
    const values = outcomes.map((outcome) => outcome[name])
    return [0, 0.5, 1].map((part) => quantile(values, part).toFixed(digits)).join(' / ')
  }
  console.log(`least / median / most of ${rounds} rounds
the call                                  ${show('seconds', 2)} s (wanted: 2)
CPU of the service                        ${show('cpu', 2)} s
longest command of Redis                  ${show('slowestCommand', 1)} ms
longest PING                              ${show('longestPing', 1)} ms
answer to the last refusal: workers       ${show('workers', 1)} ms (wanted: 250)
answer to the last refusal: verifiers     ${show('verifiers', 1)} ms (wanted: 250)`)
} finally {
  await scope.close()
}

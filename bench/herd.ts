/*
 * A herd: 20,000 clients refresh in the same second at two workers, as after an outage: `npm run build && node dist/bench/herd.js
 * [clients]`. Each has an address and a connection of its own. It waits for `Retry-After` when it is refused, and a second or two when
 * its connection breaks, times out (408) or brings no answer for ten seconds, until it is served or its session is over. After a
 * minute the rest gives up. Half of the clients run in each of two processes.
 *
 * The sessions are started in Redis, and their tokens signed, by this process: so many logins would take longer than the herd.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config/load.ts'
import { makeArgon2Writer } from '../src/passwords/argon2.ts'
import { newestGeneration } from '../src/sessions/session.ts'
import { systemClock } from '../src/time.ts'
import { adoptionRules } from '../src/tokens/adoption.ts'
import { claimRules } from '../src/tokens/claims.ts'
import { makeRefreshTokens } from '../src/tokens/refresh.ts'
import { openScope } from '../test/faults/worlds.ts'
import { runKeyturn } from '../test/support/keyturn.ts'
import { aDevice } from '../test/support/makers.ts'
import { footprints } from '../test/support/processes.ts'
import { openService, type Service } from './service.ts'

/** Sessions of one user. */
const perUser = 10

/** How long a client waits for an answer, and how long the herd lasts. Milliseconds. */
const [patience, deadline] = [10_000, 60_000]

/** What became of the herd, or of a part of it. */
interface Counts {
  /** By status; 0 is a connection that broke. */
  readonly statuses: Record<number, number>
  /** How often each number of seconds was asked for. */
  readonly retryAfter: Record<number, number>
  /** When each client was served, in milliseconds since the start. */
  readonly servedAt: number[]
}

const noCounts = (): Counts => ({ statuses: {}, retryAfter: {}, servedAt: [] })

const count = (counts: Record<number, number>, key: number, more = 1): void => {
  counts[key] = (counts[key] ?? 0) + more
}

/* A process of clients */

interface Reply {
  readonly status: number
  readonly retryAfter: number
}

/** HTTP by hand, as in bench/client.ts: the clients take the cores that are measured. */
function refresh(port: number, address: string, body: string): Promise<Reply> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
    let received = ''
    socket.on('data', (piece) => {
      received += piece
    })
    socket.on('error', () => {})
    const timer = setTimeout(() => socket.destroy(), patience)
    socket.on('close', () => {
      clearTimeout(timer)
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(received)?.[1] ?? 0)
      resolve({ status, retryAfter: Number(/\r\nretry-after: (\d+)/i.exec(received)?.[1] ?? 0) })
    })
    const fields = `host: herd\r\nx-forwarded-for: ${address}\r\ncontent-type: application/json\r\nconnection: close`
    socket.write(`POST /api/token/refresh/ HTTP/1.1\r\n${fields}\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  })
}

async function live(port: number, address: string, token: string, counts: Counts): Promise<void> {
  const began = performance.now()
  while (performance.now() - began < deadline) {
    const { status, retryAfter } = await refresh(port, address, JSON.stringify({ refresh: token }))
    count(counts.statuses, status)
    if (status === 503 || status === 429) count(counts.retryAfter, retryAfter)
    if (status === 200) counts.servedAt.push(performance.now() - began)
    if (![0, 408, 429, 503].includes(status)) return
    await delay(retryAfter > 0 ? retryAfter * 1000 : 1000 + 1000 * Math.random())
  }
}

async function herd(): Promise<void> {
  const [{ port, tokens, part }] = (await once(process, 'message')) as [
    { port: number; tokens: readonly string[]; part: number }
  ]
  process.send?.('ready')
  await once(process, 'message')
  const counts = noCounts()
  const addressOf = (index: number): string => `10.${part}.${index >> 8}.${index & 255}`
  await Promise.all(tokens.map((token, index) => live(port, addressOf(index), token, counts)))
  process.send?.(counts, () => process.exit())
}

/* The process that measures */

const nameOf = (user: number): string => `herd-${user}`

/** Users for so many sessions, taken in as a move from elsewhere does. */
async function addUsers({ settings }: Service, sessions: number): Promise<void> {
  const password_hash = await makeArgon2Writer({ memory: 8192, time: 1, parallelism: 1 }).hash('a password of the herd')
  const lines = Array.from({ length: Math.ceil(sessions / perUser) }, (_, index) =>
    JSON.stringify({ id: nameOf(index), username: nameOf(index), password_hash })
  )
  const { code, stderr } = await runKeyturn(['users', 'import', '-', '--format', 'ndjson'], settings, lines.join('\n'))
  if (code !== 0) throw new Error(stderr)
}

/** Refresh tokens, each of a session of its own. */
async function makeTokens({ settings }: Service, number: number): Promise<readonly string[]> {
  const config = loadConfig(settings)
  const app = await buildApp(config, { log: pino({ level: 'silent' }) })
  const { codec, keyring, stores } = app
  const signer = makeRefreshTokens(
    codec,
    keyring.keys().jtiSecret,
    claimRules(config),
    systemClock,
    adoptionRules(config)
  )
  const start = async (username: string): Promise<string> => {
    const user = await stores.users.findByUsername(username)
    if (user === undefined) throw new Error(`${username} was not imported`)
    const { session } = await stores.sessions.start(user.id, aDevice)
    return signer.issue(user, session.sid, newestGeneration(session))
  }
  const tokens: string[] = []
  while (tokens.length < number) {
    const some = Array.from({ length: Math.min(100, number - tokens.length) }, (_, index) => tokens.length + index)
    tokens.push(...(await Promise.all(some.map((index) => start(nameOf(Math.floor(index / perUser)))))))
  }
  await app.close()
  return tokens
}

const workers = ({ pid }: Service): string =>
  footprints(pid)
    .filter(({ title }) => title === 'worker')
    .map(({ rss }) => rss.toFixed(0))
    .join(' and ')

function histogram(counts: Readonly<Record<number, number>>): string {
  const most = Math.max(1, ...Object.values(counts))
  return Object.entries(counts)
    .map(([second, times]) => `${second.padStart(4)} s ${'#'.repeat(Math.ceil((50 * times) / most))} ${times}`)
    .join('\n')
}

/** Lets a herd come, and shows what became of it. */
async function stampede(service: Service, tokens: readonly string[]): Promise<void> {
  const half = Math.ceil(tokens.length / 2)
  const children = [0, 1].map((part) => {
    const child = fork(import.meta.filename, ['clients'])
    const port = Number(new URL(service.url).port)
    child.send({ port, part, tokens: tokens.slice(part * half, (part + 1) * half) })
    return child
  })
  await Promise.all(children.map((child) => once(child, 'message')))
  console.log(`MB of the workers before: ${workers(service)}`)
  let most = 0
  const watching = setInterval(() => {
    for (const { title, rss } of footprints(service.pid)) if (title === 'worker') most = Math.max(most, rss)
  }, 500)
  const began = performance.now()
  const results = children.map(async (child) => {
    child.send('go')
    const [counts] = (await once(child, 'message')) as [Counts]
    return counts
  })
  const all = noCounts()
  for (const { statuses, retryAfter, servedAt } of await Promise.all(results)) {
    for (const [status, times] of Object.entries(statuses)) count(all.statuses, Number(status), times)
    for (const [second, times] of Object.entries(retryAfter)) count(all.retryAfter, Number(second), times)
    all.servedAt.push(...servedAt)
  }
  clearInterval(watching)
  const took = (performance.now() - began) / 1000
  const sorted = all.servedAt.toSorted((a, b) => a - b)
  const at = (part: number): string =>
    ((sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN) / 1000).toFixed(1)
  console.log(
    `${sorted.length} of ${tokens.length} served within ${took.toFixed(1)} s: p50 ${at(0.5)} s, p99 ${at(0.99)} s`
  )
  console.log(`logouts (401): ${all.statuses[401] ?? 0}; answers by status, 0 is a broken connection:`, all.statuses)
  console.log(`Retry-After:\n${histogram(all.retryAfter)}`)
  await delay(3000)
  console.log(`MB of the workers: ${most.toFixed(0)} at most, ${workers(service)} afterwards`)
}

async function main(): Promise<void> {
  const number = Number(process.argv[2] ?? 20_000)
  const scope = openScope()
  try {
    const service = await openService(scope)
    const load = loadavg()[0]?.toFixed(1)
    console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}, load ${load}; ${number} clients`)
    await addUsers(service, number)
    for (const herd of ['first', 'second']) {
      const tokens = await makeTokens(service, number)
      console.log(`the ${herd} herd`)
      await stampede(service, tokens)
    }
  } finally {
    await scope.close()
  }
}

if (process.argv[2] === 'clients') await herd()
else await main()

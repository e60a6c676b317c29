/**
 * How soon other services know of a logout, and what their streams cost: two workers on Redis and PostgreSQL.
 *
 *   npm run build && npm run build:packages && node dist/bench/revocation-stream.js [connections] [logouts] [part]
 *
 * 1. So many connections (100) to GET /api/revocations/, as many logouts (1,000) one after another: milliseconds from the
 *    logout's 200 to the event at each connection; and with as many verifiers of packages/verifier, to the first refusal by each.
 * 2. Resident memory of the workers with and without the streams.
 * 3. 100,000 live revocations: milliseconds from a connection without a cursor to its `caught-up`, from a new verifier to its
 *    first verdict, and what they take of this process' memory.
 *
 * `part` runs one of them alone: streams, verifiers or snapshot.
 *
 * Service, receivers and this process share the machine.
 */
import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Redis } from 'ioredis'
import { randomId } from '../src/random.ts'
import { makeNames } from '../src/stores/redis/names.ts'
import { announce, defineScripts } from '../src/stores/redis/scripts.ts'
import { login } from '../test/support/arbiter.ts'
import { basic } from '../test/support/client.ts'
import { post } from '../test/support/keyturn.ts'
import { openScope } from '../test/faults/worlds.ts'
import { footprints } from '../test/support/processes.ts'
import { isAccepted, openVerifiers } from '../test/support/verifiers.ts'
import { quantile } from './measure.ts'
import { type Client, createClient, openIssuer, type Service } from './service.ts'

const [connections, logouts, only] = [
  Number(process.argv[2] ?? 100),
  Number(process.argv[3] ?? 1000),
  process.argv[4] ?? ''
]
const many = 100_000
const window = 360

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Heap and buffers of this process in MB, after a collection. */
function ownMemory(): number {
  for (let each = 0; each < 3; each++) collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}

/** A stream, read as its chunks come. `onEvent` is called with the text of each. */
function openStream(service: Service, { id, secret }: Client, onEvent: (text: string) => void): Promise<() => void> {
  const headers = { accept: 'text/event-stream', authorization: basic(id, secret) }
  return new Promise((resolve, reject) => {
    let rest = ''
    const asked = request(`${service.url}/api/revocations/`, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`the stream answered ${response.statusCode}`))
      response.setEncoding('utf8').on('data', (chunk: string) => {
        const events = (rest + chunk).split('\n\n')
        rest = events.pop() ?? ''
        for (const event of events) {
          onEvent(event)
          if (event.startsWith('event: caught-up')) resolve(() => asked.destroy())
        }
      })
      response.on('error', () => {})
    })
    asked.on('error', reject)
    asked.end()
  })
}

const workersMemory = ({ pid }: Service): readonly number[] =>
  footprints(pid).flatMap(({ title, rss }) => (title === 'worker' ? [rss] : []))

const milliseconds = (times: readonly number[]): string =>
  `p50 ${quantile(times, 0.5).toFixed(1)}, p99 ${quantile(times, 0.99).toFixed(1)}, max ${quantile(times, 1).toFixed(1)} ms`

interface Tokens {
  readonly access: string
  readonly refresh: string
  readonly sid: string
}

async function logIn({ url }: Service): Promise<Tokens> {
  const { body } = await post(`${url}/api/token/`, login)
  const { access = '', refresh = '' } = body
  return { access, refresh, sid: JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString()).sid }
}

/** Logs out; when the 200 arrived. */
async function logOut({ url }: Service, { refresh }: Tokens): Promise<number> {
  const { status } = await post(`${url}/api/token/blacklist/`, { refresh })
  if (status !== 200) throw new Error(`the logout answered ${status}`)
  return performance.now()
}

async function measureStreams(service: Service, client: Client): Promise<void> {
  const before = workersMemory(service)
  let arrivals: number[] = []
  let awaited = ''
  const onEvent = (text: string): void => {
    if (text.startsWith('event: revoked') && text.includes(awaited)) arrivals.push(performance.now())
  }
  const closing = await Promise.all(Array.from({ length: connections }, () => openStream(service, client, onEvent)))
  await delay(5000)
  const after = workersMemory(service)
  const grown = after.reduce((sum, rss) => sum + rss, 0) - before.reduce((sum, rss) => sum + rss, 0)
  const show = (all: readonly number[]): string => all.map((rss) => rss.toFixed(1)).join(' + ')
  console.log(
    `memory of the workers: ${show(before)} MB without streams, ${show(after)} MB with ${connections}: ` +
      `${((grown * 1024) / connections).toFixed(1)} KiB a stream`
  )
  const times: number[] = []
  for (let each = 0; each < logouts; each++) {
    const tokens = await logIn(service)
    awaited = tokens.sid
    arrivals = []
    const answered = await logOut(service, tokens)
    while (arrivals.length < connections) await delay(1)
    for (const at of arrivals) times.push(Math.max(0, at - answered))
  }
  for (const close of closing) close()
  console.log(`${logouts} logouts, ${connections} streams: from the 200 to the event: ${milliseconds(times)}`)
}

async function measureVerifiers(service: Service, client: Client): Promise<void> {
  const verifiers = await openVerifiers(scope, connections, { issuer: service.url, client })
  const times: number[] = []
  for (let each = 0; each < logouts; each++) {
    const tokens = await logIn(service)
    const accepted = await Promise.all(verifiers.map((verifier) => isAccepted(verifier, tokens.access)))
    if (accepted.includes(false)) throw new Error('a valid token was refused')
    const answered = await logOut(service, tokens)
    for (let open = [...verifiers]; open.length > 0; ) {
      const still = await Promise.all(open.map((verifier) => isAccepted(verifier, tokens.access)))
      const now = performance.now()
      for (const isOpen of still) if (!isOpen) times.push(now - answered)
      open = open.filter((_, index) => still[index])
      await delay(0)
    }
  }
  await Promise.all(verifiers.map((verifier) => verifier.close()))
  console.log(`${logouts} logouts, ${connections} verifiers: from the 200 to the refusal: ${milliseconds(times)}`)
}

async function measureSnapshot(service: Service, client: Client): Promise<void> {
  const redis = new Redis(service.settings.REDIS_URL ?? '')
  defineScripts(redis)
  for (let filled = 0; filled < many; filled += 1000)
    await announce(redis, makeNames(), window, 'sid', Array.from({ length: 1000 }, randomId))
  redis.disconnect()
  const load = async (): Promise<{ entries: number; took: number }> => {
    let entries = 0
    const began = performance.now()
    const close = await openStream(service, client, (text) => {
      if (text.startsWith('event: revoked')) entries += text.split('"sid"').length - 1
    })
    close()
    return { entries, took: performance.now() - began }
  }
  // Each stream may be another worker's.
  for (let complete = 0; complete < 10; complete += 1) {
    if ((await load()).entries < many) complete = 0
    await delay(100)
  }
  const times: number[] = []
  for (let each = 0; each < 10; each++) times.push((await load()).took)
  const workers = workersMemory(service).map((rss) => rss.toFixed(0))
  console.log(`snapshot of ${many} entries: ${milliseconds(times)}; the workers have ${workers.join(' and ')} MB`)
  const before = ownMemory()
  const began = performance.now()
  const [verifier] = await openVerifiers(scope, 1, { issuer: service.url, client })
  const took = performance.now() - began
  console.log(
    `a verifier with ${many} entries: ready after ${took.toFixed(0)} ms, ${(ownMemory() - before).toFixed(1)} MB of memory`
  )
  await verifier?.close()
}

const scope = openScope()
try {
  const service = await openIssuer(scope, {
    // A login is not what is measured.
    ARGON2_MEMORY: '8192',
    ARGON2_TIME: '1',
    MAX_SESSIONS_PER_USER: '10000'
  })
  const client = await createClient(service, 'keyturn.revocations')
  const parts = { streams: measureStreams, verifiers: measureVerifiers, snapshot: measureSnapshot }
  for (const [part, measure] of Object.entries(parts)) if (part.startsWith(only)) await measure(service, client)
} finally {
  await scope.close()
}

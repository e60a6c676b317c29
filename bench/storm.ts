/*
 * Logins offered at ten times what the machine can hash, and what that does to verifications and refreshes:
 * `npm run build && node dist/bench/storm.js`. ROUNDS (5) and SECONDS (5) say how long.
 *
 * The real server, two workers and a hasher with their own defaults, on PostgreSQL and Redis. A few verifications and
 * refreshes are sent at a fixed rate, whatever comes back, and timed from the moment at which they were due: a server
 * that stalls is not asked more kindly. Quiet rounds and rounds with logins take turns, so that a machine that is busy
 * is so for both. What a machine hashes is measured first: logins of four clients, one after the other. The storm comes
 * from a process of its own, at a fixed rate too, over connections that take turns, so that each worker has its share;
 * a few additional logins measure how long a refusal takes. Logins that are neither served nor refused are
 * limited (429): so many logins under way from one address are more wrong passwords than it may have, until they have
 * proved right.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { login } from '../test/support/arbiter.ts'
import { openScope } from '../test/faults/worlds.ts'
import { makeArgon2Writer } from '../src/passwords/argon2.ts'
import { runKeyturn } from '../test/support/keyturn.ts'
import { footprints } from '../test/support/processes.ts'
import { openService, type Service } from './service.ts'

const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 5)

/** Requests a second. */
const [verifyRate, refreshRate, loginRate] = [100, 20, 10]

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, string>>
}

function post(url: string, body: object, agent: Agent): Promise<Answer> {
  const text = JSON.stringify(body)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers })
    sent.on('error', reject)
    sent.on('response', (answer) => {
      let received = ''
      answer.setEncoding('utf8').on('data', (piece) => {
        received += piece
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: JSON.parse(received) }))
    })
    sent.end(text)
  })
}

/** Calls `send` so many times a second until it is stopped, with the milliseconds since it was due. */
function atRate(rate: number, send: (late: () => number) => void): () => void {
  const began = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    for (; sent < ((performance.now() - began) / 1000) * rate; sent++) {
      const due = began + (sent * 1000) / rate
      send(() => performance.now() - due)
    }
  }, 2)
  return () => clearInterval(timer)
}

const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN

/* The users: so many that the limits of one account are none of it */

const users = 1000
let turn = 0

/** The next user. */
const someone = () => ({ username: `user-${turn++ % users}`, password: login.password })

/** Takes them in as a move from elsewhere does: hashing a thousand passwords would take longer than the storm. */
async function addUsers({ settings }: Service): Promise<void> {
  const password_hash = await makeArgon2Writer({ memory: 19_456, time: 2, parallelism: 1 }).hash(login.password)
  const lines = Array.from({ length: users }, (_, index) =>
    JSON.stringify({ id: `${index}`, username: `user-${index}`, password_hash })
  )
  const { code, stderr } = await runKeyturn(['users', 'import', '-', '--format', 'ndjson'], settings, lines.join('\n'))
  if (code !== 0) throw new Error(stderr)
}

/* The process that logs in */

interface Logins {
  served: number
  refused: number
  others: number
}

/**
 * Sends logins, whatever comes back. In the field they come from elsewhere, and here they take a core of two that are
 * measured: HTTP is written and read by hand, as in bench/client.ts, which takes a third of what Node's client does.
 */
async function storm(url: string, rate: number): Promise<void> {
  const port = Number(new URL(url).port)
  const counts: Logins = { served: 0, refused: 0, others: 0 }
  const idle: Socket[] = []
  const open = (): Socket => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
    let received = ''
    socket.on('data', (piece) => {
      received += piece
      const [head, length] = /^HTTP.*?\r\ncontent-length: (\d+).*?\r\n\r\n/is.exec(received) ?? []
      if (head === undefined || received.length < head.length + Number(length)) return
      const status = received.slice(9, 12)
      counts[status === '200' ? 'served' : status === '503' ? 'refused' : 'others'] += 1
      received = ''
      idle.push(socket)
    })
    socket.on('error', () => {
      counts.others += 1
    })
    // After KEEPALIVE_REQUESTS.
    socket.on('close', () => {
      if (idle.includes(socket)) idle.splice(idle.indexOf(socket), 1)
    })
    return socket
  }
  const stop = atRate(rate, () => {
    const body = JSON.stringify(someone())
    const head = `POST /api/token/ HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n`
    const socket = idle.shift() ?? open()
    socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`)
  })
  await once(process, 'message')
  stop()
  // Those that wait in line are answered, and are none of the next round.
  await delay(4000)
  process.send?.(counts, () => process.exit())
}

/* The process that measures */

interface Session {
  access: string
  refresh: string
}

/** Milliseconds; of logins those that were refused. */
interface Times {
  readonly verify: number[]
  readonly refresh: number[]
  readonly refusal: number[]
  failures: number
}

const noTimes = (): Times => ({ verify: [], refresh: [], refusal: [], failures: 0 })

/** Sends verifications and refreshes for a while, and adds their times. */
async function measure(
  url: string,
  sessions: readonly Session[],
  agent: Agent,
  times: Times,
  logins = 0
): Promise<void> {
  const pending = new Set<Promise<void>>()
  const ask = (path: string, body: object, then: (answer: Answer) => void): void => {
    const asked = post(`${url}${path}`, body, agent).then(then)
    pending.add(asked)
    void asked.finally(() => pending.delete(asked))
  }
  const serve = (kind: 'verify' | 'refresh', late: () => number, { status }: Answer): void => {
    times[kind].push(late())
    if (status !== 200) times.failures += 1
  }
  let [verified, refreshed] = [0, 0]
  const stops = [
    atRate(verifyRate, (late) => {
      const { access } = sessions[verified++ % sessions.length] as Session
      ask('/api/token/verify/', { token: access }, (answer) => serve('verify', late, answer))
    }),
    atRate(refreshRate, (late) => {
      const session = sessions[refreshed++ % sessions.length] as Session
      ask('/api/token/refresh/', { refresh: session.refresh }, (answer) => {
        serve('refresh', late, answer)
        if (answer.status === 200) Object.assign(session, answer.body)
      })
    }),
    atRate(logins, (late) => {
      ask('/api/token/', someone(), ({ status }) => {
        if (status === 503) times.refusal.push(late())
      })
    })
  ]
  await delay(seconds * 1000)
  for (const stop of stops) stop()
  await Promise.all(pending)
}

/** Logins a second of four clients that do nothing else. */
async function measureCapacity(url: string, agent: Agent): Promise<number> {
  let [done, isOver] = [0, false]
  const client = async (): Promise<void> => {
    while (!isOver) if ((await post(`${url}/api/token/`, someone(), agent)).status === 200) done += 1
  }
  const clients = Array.from({ length: 4 }, client)
  await delay(3000)
  isOver = true
  const capacity = done / 3
  await Promise.all(clients)
  return capacity
}

const memoryOf = ({ pid }: Service): string =>
  footprints(pid)
    .map(({ title, rss }) => `${title} ${rss.toFixed(0)}`)
    .join(', ')

/** Seconds of CPU so far, by title: of Keyturn, of its stores, and of this process and the storm. */
function cpuByTitle(): ReadonlyMap<string, number> {
  const sums = new Map<string, number>()
  for (const { title, cpu } of footprints(process.pid)) sums.set(title, (sums.get(title) ?? 0) + cpu)
  return sums
}

async function main(): Promise<void> {
  const scope = openScope()
  try {
    const service = await openService(scope, process.env.HASHERS === undefined ? {} : { HASHERS: process.env.HASHERS })
    const { url } = service
    await addUsers(service)
    // Connections take turns here too, so that both workers are asked.
    const agent = new Agent({ keepAlive: true, maxSockets: 32, scheduling: 'fifo' })
    scope.teardown(() => agent.destroy())

    const sessions: Session[] = []
    while (sessions.length < 20) {
      const { body } = await post(`${url}/api/token/`, someone(), agent)
      sessions.push({ access: body.access ?? '', refresh: body.refresh ?? '' })
    }
    const capacity = await measureCapacity(url, agent)
    console.log(
      `Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model}, load ${loadavg()[0]?.toFixed(1)};`,
      `${rounds} rounds of ${seconds} s; ${capacity.toFixed(0)} logins a second can be hashed`
    )
    const [quiet, stormy] = [noTimes(), noTimes()]
    const logins: Logins = { served: 0, refused: 0, others: 0 }
    await measure(url, sessions, agent, noTimes())
    const before = memoryOf(service)
    const used = { quiet: new Map<string, number>(), storm: new Map<string, number>() }
    /** Percent of a core, of each title; `work` may take longer than `seconds`. */
    const account = async (sums: Map<string, number>, work: () => Promise<void>): Promise<void> => {
      const [before, began] = [cpuByTitle(), performance.now()]
      await work()
      const share = 100_000 / (performance.now() - began) / rounds
      for (const [title, cpu] of cpuByTitle())
        sums.set(title, (sums.get(title) ?? 0) + (cpu - (before.get(title) ?? 0)) * share)
    }
    for (let round = 0; round < rounds; round++) {
      await account(used.quiet, () => measure(url, sessions, agent, quiet))
      const child = fork(import.meta.filename, ['logins', url, String(10 * capacity)])
      await delay(1000)
      await account(used.storm, () => measure(url, sessions, agent, stormy, loginRate))
      child.send('stop')
      const [[counts]] = (await Promise.all([once(child, 'message'), once(child, 'exit')])) as [[Logins], unknown]
      for (const key of ['served', 'refused', 'others'] as const) logins[key] += counts[key]
      console.log(`after round ${round + 1}: MB ${memoryOf(service)}`)
    }

    const show = (name: string, of: (times: Times) => readonly number[]): void => {
      const cells = [0.5, 0.9, 0.99].flatMap((part) => {
        const [calm, loud] = [quantile(of(quiet), part), quantile(of(stormy), part)]
        return [calm.toFixed(1), loud.toFixed(1), (loud / calm).toFixed(2)]
      })
      console.log([name.padEnd(8), ...cells.map((cell) => cell.padStart(7))].join(' '))
    }
    console.log('ms           p50   storm   ratio     p90   storm   ratio     p99   storm   ratio')
    show('verify', ({ verify }) => verify)
    show('refresh', ({ refresh }) => refresh)
    console.log(`failures: quiet ${quiet.failures}, storm ${stormy.failures}`)
    const { served, refused, others } = logins
    const refusal = [0.5, 0.99].map((part) => quantile(stormy.refusal, part).toFixed(1))
    console.log(
      `storm: ${served} logins served, ${refused} refused, ${others} otherwise;`,
      `${stormy.refusal.length} refusals timed: p50 ${refusal[0]} ms, p99 ${refusal[1]} ms`
    )
    const percent = (sums: ReadonlyMap<string, number>): string =>
      [...sums].map(([title, share]) => `${title} ${share.toFixed(0)}`).join(', ')
    console.log(`percent of a core, quiet: ${percent(used.quiet)}\npercent of a core, storm: ${percent(used.storm)}`)
    console.log(`MB before: ${before}\nMB after:  ${memoryOf(service)}`)
  } finally {
    await scope.close()
  }
}

const [, , role, url = '', rate] = process.argv
if (role === 'logins') await storm(url, Number(rate))
else await main()

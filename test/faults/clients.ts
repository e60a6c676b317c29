/*
 * Well-behaved clients of a running Keyturn, a steady few of them, and what became of every request. They know what they were
 * received: which sessions are theirs and which were ended, so that a wrong response is recognised.
 */
import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** The result of a request that is not served: a status, or the code of an error. */
export interface FailedRequest {
  readonly endpoint: Endpoint
  readonly reason: string
  /** performance.now() when it was reported. */
  readonly at: number
}

export interface Report {
  readonly answered: number
  readonly failed: readonly FailedRequest[]
  /** Each is one sentence. */
  readonly wrong: readonly string[]
  /** Sessions that were reported as ended although no client had ended them. */
  readonly lost: number
  /** The longest that a request took, in milliseconds. */
  readonly longest: number
  /** Sessions that were ended, and that the answer had said so. */
  readonly ended: number
  /** Looks at /health/ready that it answered with 503. */
  readonly unready: number
}

export interface Clients {
  /** What has happened since the last report. */
  report(): Report
  /** performance.now() when a request failed, or had to wait for long, for the last time; 0 when none has. */
  lastTrouble(): number
  /** Resolves once every client has had its last answer. */
  stop(): Promise<Report>
}

const paths = {
  login: '/api/token/',
  refresh: '/api/token/refresh/',
  verify: '/api/token/verify/',
  logout: '/api/token/blacklist/'
}
type Endpoint = keyof typeof paths | 'live'

interface Tokens {
  access: string
  refresh: string
}

interface Answer {
  /** 0 when there was none. */
  readonly status: number
  readonly reason: string
  readonly body: Readonly<Record<string, string>>
}

/** Between two looks at the health of the service, in milliseconds. */
const healthPause = 200

/** Between two requests of a client, and before one that failed is sent again. Milliseconds. */
const [pause, retryPause] = [50, 100]

/** How long a client waits at all, and what is long. Milliseconds. */
const [patience, long] = [15_000, 1000]

/** How long a logout may take to be known everywhere, in milliseconds: a multiple of what is promised, for a busy machine. */
const spread = 1000

/** Ended sessions whose tokens are tried again and again. */
const mostWatched = 40

export interface ClientsOptions {
  readonly username: string
  readonly password: string
  /** How many clients refresh. */
  readonly sessions?: number
}

/** Starts them. `mayLose` tells whether sessions may be lost just now, by the nature of what happens to the service. */
export function startClients(
  url: string,
  { sessions = 6, ...credentials }: ClientsOptions,
  mayLose: () => boolean
): Clients {
  let isOver = false
  let last = 0
  let now = emptyReport()
  const watched: (Tokens & { readonly since: number })[] = []

  /** When the requests were sent that are not answered yet. */
  const waiting = new Set<{ readonly since: number }>()

  const send = async (endpoint: keyof typeof paths, body: object, agent: Agent): Promise<Answer> => {
    const entry = { since: performance.now() }
    waiting.add(entry)
    const answer = await exchange(`${url}${paths[endpoint]}`, JSON.stringify(body), agent)
    waiting.delete(entry)
    const took = performance.now() - entry.since
    now.longest = Math.max(now.longest, took)
    if (took > long) last = performance.now()
    return answer
  }
  const fail = (endpoint: Endpoint, { reason }: Answer): void => {
    last = performance.now()
    now.failed.push({ endpoint, reason, at: last })
  }
  /** Sends it until it is served, or refused for good; undefined when the end comes before. */
  const insist = async (
    endpoint: keyof typeof paths,
    body: object,
    agent: Agent
  ): Promise<(Answer & { tries: number }) | undefined> => {
    for (let tries = 1; ; tries++) {
      const answer = await send(endpoint, body, agent)
      if (answer.status === 200) now.answered += 1
      if (answer.status === 200 || answer.status === 401) return { ...answer, tries }
      fail(endpoint, answer)
      if (isOver) return undefined
      await delay(retryPause)
    }
  }
  const lose = (what: string): void => {
    now.lost += 1
    if (!mayLose()) now.wrong.push(what)
  }

  /** One session, from its login to its logout. */
  const live = async (agent: Agent, refreshes: number): Promise<void> => {
    const login = await insist('login', credentials, agent)
    if (login === undefined) return
    if (login.status !== 200) return fail('login', login)
    const tokens: Tokens = { access: login.body.access ?? '', refresh: login.body.refresh ?? '' }
    for (let each = 0; each < refreshes && !isOver; each++) {
      const verified = await send('verify', { token: tokens.access }, agent)
      if (verified.status === 200) now.answered += 1
      else fail('verify', verified)
      await delay(pause)
      const refreshed = await insist('refresh', { refresh: tokens.refresh }, agent)
      if (refreshed === undefined) return
      if (refreshed.status !== 200) {
        fail('refresh', refreshed)
        return lose(`a refresh was refused after ${refreshed.tries} tries: ${refreshed.body.detail}`)
      }
      Object.assign(tokens, refreshed.body)
      await delay(pause)
    }
    const ended = await insist('logout', { refresh: tokens.refresh }, agent)
    if (ended === undefined) return
    // The first try may have been carried out, and its answer lost.
    if (ended.status !== 200 && ended.tries === 1) {
      fail('logout', ended)
      return lose(`a logout was refused: ${ended.body.detail}`)
    }
    now.ended += 1
    watched.push({ ...tokens, since: performance.now() })
    if (watched.length > mostWatched) watched.splice(Math.floor(Math.random() * mostWatched), 1)
  }

  /** Tries the tokens of sessions that are over, on a new connection each, so that every worker is asked. */
  const watch = async (agent: Agent): Promise<void> => {
    const known = watched.filter(({ since }) => performance.now() - since > spread)
    const one = known[Math.floor(Math.random() * known.length)]
    await delay(pause)
    if (one === undefined) return
    const [endpoint, body] =
      Math.random() < 0.8
        ? (['verify', { token: one.access }] as const)
        : (['refresh', { refresh: one.refresh }] as const)
    const answer = await send(endpoint, body, agent)
    if (answer.status === 200) now.wrong.push(`${endpoint} accepted a token whose session had ended`)
    else if (answer.status !== 401) fail(endpoint, answer)
    else now.answered += 1
  }

  /** Liveness never fails, whatever the stores do; readiness tells. */
  const look = async (agent: Agent): Promise<void> => {
    const live = await exchange(`${url}/health/live`, undefined, agent)
    if (live.status !== 200) fail('live', live)
    const ready = await exchange(`${url}/health/ready`, undefined, agent)
    if (ready.status === 503) now.unready += 1
    await delay(healthPause)
  }

  const keep = async (turn: (agent: Agent) => Promise<void>, isKept = true): Promise<void> => {
    const agent = new Agent({ keepAlive: isKept, maxSockets: 1 })
    while (!isOver) {
      await turn(agent)
      await delay(pause)
    }
    agent.destroy()
  }
  const running = [
    ...Array.from({ length: sessions }, (_, index) => keep((agent) => live(agent, 5 + 5 * index))),
    // Logs in and out, so that no second is without either.
    keep((agent) => live(agent, 0)),
    keep(watch, false),
    keep(watch, false),
    keep(look, false)
  ]
  const report = (): Report => {
    const { failed, wrong, ...counts } = now
    now = emptyReport()
    return { ...counts, failed, wrong }
  }
  return {
    report,
    lastTrouble() {
      const time = performance.now()
      return [...waiting].some(({ since }) => time - since > long) ? time : last
    },
    async stop() {
      isOver = true
      await Promise.all(running)
      return report()
    }
  }
}

const emptyReport = () => ({
  answered: 0,
  failed: [] as FailedRequest[],
  wrong: [] as string[],
  lost: 0,
  longest: 0,
  ended: 0,
  unready: 0
})

/** A POST with a body of JSON, a GET without one. */
function exchange(url: string, text: string | undefined, agent: Agent): Promise<Answer> {
  const method = text === undefined ? 'GET' : 'POST'
  const headers =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  return new Promise((resolve) => {
    const give = (reason: string): void => resolve({ status: 0, reason, body: {} })
    const sent = request(url, { method, agent, headers, timeout: patience })
    sent.on('timeout', () => sent.destroy(Object.assign(new Error(), { code: 'no answer' })))
    sent.on('error', (error: NodeJS.ErrnoException) => give(error.code ?? error.message))
    sent.on('response', (answer) => {
      let received = ''
      const status = answer.statusCode ?? 0
      answer.setEncoding('utf8').on('data', (piece) => {
        received += piece
      })
      answer.on('error', (error: NodeJS.ErrnoException) => give(error.code ?? error.message))
      answer.on('end', () => resolve({ status, reason: String(status), body: JSON.parse(received) }))
    })
    sent.end(text)
  })
}

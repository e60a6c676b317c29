/* A virtual clock, a model of the service and of the network, and tabs that share a storage: nothing here waits for real time. */
import { type Client, KeyturnClient } from '../src/client.ts'
import type { ClientOptions, Runtime } from '../src/options.ts'
import { isNewer, type Session } from '../src/session.ts'
import type { SessionStorage } from '../src/storage.ts'

export const accessLifetime = 300
export const grace = 10
const paths = { login: '/api/token/', refresh: '/api/token/refresh/', logout: '/api/token/blacklist/' }

/** Resolves when everything that does not wait for the clock has happened. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Timer {
  readonly due: number
  /** Whose code it runs: not while the tab is frozen. */
  readonly owner: Tab | undefined
  /** Set by the tab's code, rather than news or an answer that is on its way to it. */
  readonly isOwn: boolean
  readonly run: () => void
}

/** Timers run by `time`, which only ever grows; `wall` is what the device shows, and may jump. Both in milliseconds. */
export class Clock {
  time = 0
  wall = 1_800_000_000_000
  readonly timers = new Set<Timer>()

  set(ms: number, run: () => void, owner?: Tab, isOwn = false): () => void {
    const timer = { due: this.time + ms, owner, isOwn, run }
    this.timers.add(timer)
    return () => this.timers.delete(timer)
  }

  async advance(ms: number): Promise<void> {
    const end = this.time + ms
    await settle()
    for (;;) {
      const next = this.#next(end)
      if (next.length === 0) break
      this.#move(Math.max(next[0]?.due ?? 0, this.time))
      for (const timer of next) {
        this.timers.delete(timer)
        timer.run()
      }
      await settle()
    }
    this.#move(end)
  }

  /** What is due next. Tabs are processes, which run at the same time; a tab does one thing after the other. */
  #next(end: number): Timer[] {
    const due = [...this.timers].filter(({ due, owner }) => due <= end && !owner?.isFrozen)
    due.sort((a, b) => a.due - b.due)
    const time = Math.max(due[0]?.due ?? 0, this.time)
    const now = due.filter((timer) => timer.due <= time)
    return now.filter(({ owner }, index) => now.findIndex((each) => each.owner === owner) === index)
  }

  #move(time: number): void {
    this.wall += time - this.time
    this.time = time
  }
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
export const makeToken = (claims: object): string => `${encode({ alg: 'none' })}.${encode(claims)}.`
export const readToken = (token: string): Record<string, number | string> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString() || '{}')

interface ServerSession {
  gen: number
  /** When the token of each generation was superseded. */
  readonly superseded: number[]
  hasEnded: boolean
  endedBy?: string
}

export interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

/** Keyturn as docs/sessions.md describes it, for one user; late retries are not rationed. */
export class Service {
  readonly sessions = new Map<string, ServerSession>()
  readonly verdicts: string[] = []
  readonly #clock: Clock
  #issued = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  #pair(sid: string, gen: number) {
    const iat = Math.floor(this.#clock.time / 1000)
    const access = makeToken({ sid, iat, exp: iat + accessLifetime, jti: ++this.#issued })
    return { access, refresh: makeToken({ sid, gen }) }
  }

  answer(path: string, body: Record<string, string>): Reply {
    if (path === paths.login) return this.#login(body)
    const { sid, gen } = readToken(body.refresh ?? '')
    const session = this.sessions.get(String(sid))
    if (path === paths.logout) {
      this.end(String(sid), 'logout')
      return { status: 200, body: {} }
    }
    if (session === undefined || session.hasEnded) return this.#refuse('unknown')
    return this.#refresh(String(sid), session, Number(gen))
  }

  #login({ password }: Record<string, string>): Reply {
    if (password !== 'correct horse') return { status: 401, body: { detail: 'No active account found' } }
    const sid = `s${this.sessions.size}`
    this.sessions.set(sid, { gen: 0, superseded: [], hasEnded: false })
    return { status: 200, body: this.#pair(sid, 0) }
  }

  #refresh(sid: string, session: ServerSession, gen: number): Reply {
    if (gen === session.gen) {
      session.superseded.push(this.#clock.time)
      session.gen++
      this.verdicts.push('rotated')
    } else if (this.#clock.time - (session.superseded[gen] ?? 0) <= grace * 1000) this.verdicts.push('retried')
    else if (gen === session.gen - 1) {
      // The grace begins again.
      session.superseded[gen] = this.#clock.time
      this.verdicts.push('late')
    } else {
      this.end(sid, 'reuse')
      return this.#refuse('reused')
    }
    return { status: 200, body: this.#pair(sid, session.gen) }
  }

  #refuse(verdict: string): Reply {
    this.verdicts.push(verdict)
    return { status: 401, body: { detail: 'Token is blacklisted', code: 'token_not_valid' } }
  }

  end(sid: string, by: string): void {
    const session = this.sessions.get(sid)
    if (session === undefined || session.hasEnded) return
    session.hasEnded = true
    session.endedBy = by
  }

  /** What a service that verifies access tokens answers. */
  api(authorization: string | null): Reply {
    const { sid, exp } = readToken((authorization ?? '').slice('Bearer '.length))
    const isValid = this.#clock.time / 1000 < Number(exp) && this.sessions.get(String(sid))?.hasEnded === false
    return isValid ? { status: 200, body: {} } : { status: 401, body: { detail: 'Token is expired' } }
  }
}

/** What becomes of one request. `request` is a message that never arrives, `answer` one that is processed and then lost. */
export interface Fate {
  readonly lost?: 'request' | 'answer' | undefined
  /** Milliseconds to the service and back. */
  readonly there?: number
  readonly back?: number
  /** An answer that the service did not give: an outage, a limit, a proxy, a captive portal. */
  readonly instead?: Reply | undefined
}

export interface Sent {
  readonly tab: Tab
  readonly path: string
  readonly at: number
  body: Record<string, string>
  readonly authorization: string | null
  isOpen: boolean
  reply?: Reply
  /** When the tab has the reply. */
  answeredAt?: number
}

export interface Call {
  readonly tab: Tab
  readonly name: string
  readonly startedAt: number
  endedAt?: number
  outcome?: 'resolved' | Error
}

/**
 * How the tabs share their session. `synchronous`, as localStorage; `atomic`, an asynchronous storage whose `save` keeps a newer
 * session; `plain`, an asynchronous one that keeps what it was given last.
 */
export const storages = ['synchronous', 'atomic', 'plain'] as const
export type StorageKind = (typeof storages)[number]

/** One browser profile: tabs that share a storage, a network and a clock. */
export class World {
  readonly storage: StorageKind
  readonly clock = new Clock()
  readonly service = new Service(this.clock)
  readonly sent: Sent[] = []
  readonly calls: Call[] = []
  readonly tabs: Tab[] = []
  stored: Session | undefined
  readonly history: (Session | undefined)[] = []
  /** Decides what becomes of each request. */
  fate: (sent: Sent) => Fate = () => ({})
  readonly client: typeof KeyturnClient
  #seed = 1

  /** `client` makes the client of each tab. */
  constructor(storage: StorageKind = 'synchronous', client = KeyturnClient) {
    this.storage = storage
    this.client = client
  }

  /** The same numbers in each world, so that a history can be played again. Lehmer's generator. */
  random(): number {
    this.#seed = (this.#seed * 48_271) % 2_147_483_647
    return this.#seed / 2_147_483_647
  }

  /** Looks at each request at the moment when it is sent. */
  inspect: (sent: Sent) => void = () => {}

  openTab(
    options: Partial<ClientOptions> = {},
    change: (storage: SessionStorage) => SessionStorage = (same) => same
  ): Tab {
    const tab = new Tab(this, options, change)
    this.tabs.push(tab)
    return tab
  }

  save(from: Tab, session: Session): void {
    if (this.storage === 'atomic' && this.stored && isNewer(this.stored, session)) return
    this.stored = session
    this.history.push(session)
    for (const tab of this.tabs) if (tab !== from) tab.hear(session)
  }

  /** Runs the network and all timers for so many milliseconds. */
  pass(ms: number): Promise<void> {
    return this.clock.advance(ms)
  }

  refreshes(): Sent[] {
    return this.sent.filter(({ path }) => path === paths.refresh)
  }
}

export class Tab {
  readonly world: World
  readonly client: Client
  readonly events: string[] = []
  readonly listeners = new Set<(session: Session) => void>()
  subscriptions = 0
  isFrozen = false
  isKilled = false
  #frozenFor = 0
  #frozenAt = 0

  constructor(world: World, options: Partial<ClientOptions>, change: (storage: SessionStorage) => SessionStorage) {
    this.world = world
    const storage: SessionStorage = {
      load: () => this.#access(() => world.stored),
      save: (session) => {
        if (!this.isKilled) return this.#access(() => world.save(this, session))
      },
      subscribe: (listener) => {
        this.listeners.add(listener)
        return () => this.listeners.delete(listener)
      }
    }
    const runtime: Runtime = {
      Date: { now: () => world.clock.wall },
      Math: { random: () => world.random() },
      setTimeout: (then, ms) => world.clock.set(ms, then, this, true),
      clearTimeout: (cancel) => (cancel as () => void)()
    }
    this.client = new world.client({
      baseUrl: 'https://auth.example',
      storage: change(storage),
      runtime,
      fetch: (input, init) => this.#fetch(new Request(input, init), init),
      onLoggedOut: () => this.events.push('onLoggedOut'),
      onStateChange: (state) => this.events.push(state),
      ...options
    })
  }

  /** The device works on while a tab is frozen, and once it is killed. */
  #access<T>(work: () => T): T | Promise<T> {
    const { world } = this
    if (world.storage === 'synchronous') return work()
    return new Promise((resolve) => {
      world.clock.set(1 + Math.floor(200 * world.random()), () => {
        const result = work()
        this.#deliver(0, () => resolve(result))
      })
    })
  }

  #deliver(ms: number, task: () => void): void {
    if (!this.isKilled) this.world.clock.set(ms, task, this)
  }

  hear(session: Session): void {
    this.#deliver(5, () => this.listeners.forEach((listener) => void listener(session)))
  }

  freeze(): void {
    if (this.isFrozen) return
    this.isFrozen = true
    this.#frozenAt = this.world.clock.time
  }

  thaw(): void {
    if (!this.isFrozen) return
    this.isFrozen = false
    this.#frozenFor += this.world.clock.time - this.#frozenAt
  }

  /** As if the process of the tab had ended: nothing of it runs any more. */
  kill(): void {
    this.isKilled = true
    this.isFrozen = true
    this.listeners.clear()
    for (const timer of this.world.clock.timers) if (timer.owner === this) this.world.clock.timers.delete(timer)
  }

  frozenFor(): number {
    return this.#frozenFor + (this.isFrozen ? this.world.clock.time - this.#frozenAt : 0)
  }

  /** Starts a call and records how it ends. */
  call(name: string, run: (client: Client) => Promise<unknown>): Call {
    const call: Call = { tab: this, name, startedAt: this.world.clock.time }
    this.world.calls.push(call)
    const end = (outcome: 'resolved' | Error) => {
      call.outcome = outcome
      call.endedAt = this.world.clock.time
    }
    run(this.client).then(() => end('resolved'), end)
    return call
  }

  async #fetch(request: Request, { body: text, signal = request.signal }: RequestInit = {}): Promise<Response> {
    const { world } = this
    const sent: Sent = {
      tab: this,
      path: new URL(request.url).pathname,
      at: world.clock.time,
      body: typeof text === 'string' ? JSON.parse(text) : {},
      authorization: request.headers.get('authorization'),
      isOpen: true
    }
    world.sent.push(sent)
    world.inspect(sent)
    if (text === undefined && request.method === 'POST') sent.body = await request.json()
    const { lost, there = 20, back = 20, instead } = world.fate(sent)
    return new Promise((resolve, reject) => {
      const end = (finish: () => void) => {
        if (!sent.isOpen) return
        sent.isOpen = false
        finish()
      }
      // Not the request's own, which the garbage collector may cut off.
      signal?.addEventListener('abort', () => end(() => reject(signal.reason)))
      if (lost === 'request') return
      world.clock.set(there, () => {
        const reply = instead ?? this.#answer(sent)
        sent.reply = reply
        if (lost === 'answer') return
        // A text is the page of a proxy or a captive portal.
        const body = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body)
        this.#deliver(back, () =>
          end(() => {
            sent.answeredAt ??= world.clock.time
            resolve(new Response(body, { status: reply.status, headers: reply.headers ?? {} }))
          })
        )
      })
    })
  }

  #answer({ path, body, authorization }: Sent): Reply {
    return path.startsWith('/api/token/')
      ? this.world.service.answer(path, body)
      : this.world.service.api(authorization)
  }
}

/*
 * The state machine of a client. Its value is a `Session` (session.ts): the newest that this instance has seen.
 *
 *   state        means                                    the next call
 *   unknown      not loaded; cookie mode: no token yet    loads, then refreshes with the cookie
 *   live         an access token that is not yet due      uses it
 *   due          70 % to 90 % of its lifetime have passed uses it, and starts a refresh
 *   expired      its lifetime has passed, or a 401        waits for a refresh
 *   leaving      logged out, the service does not know    is refused with LoggedOut; a page load, a login or a logout tells it
 *   ended        logged out                               is refused with LoggedOut
 *
 *   event                          transition
 *   login answered                 any -> live, unless a later login or logout began meanwhile
 *   logout called                  any -> leaving, at once; leaving -> ended when the service confirms it
 *   refresh answered with tokens   due, expired, unknown -> live, if newer than what is known (R3)
 *   refresh answered 401           due, expired, unknown -> ended, if no newer session is known (R6)
 *   refresh not answered           no change; wait, read the storage, try again (R5)
 *   another tab saved a session    the newer one is taken; an older one is overwritten with ours
 *
 * R1  One refresh at a time per instance; all other calls wait for it.
 * R2  Before each attempt the storage is read: the newest token is presented, and none if another tab has refreshed meanwhile.
 *     There is no lock between tabs: the service answers all of them with the same successor. An answer that comes later than the
 *     attempt's timeout, as in a tab that was frozen, is not used.
 * R3  A session replaces only an older one, by (since, ended, gen, step). So a late answer overwrites neither newer tokens, nor a
 *     logout, nor another login.
 * R4  A refresh begins before the token expires, at a random time from 70 % to 90 % of its lifetime; after a 401 a request is
 *     repeated once.
 * R5  429, 503, network errors and unexpected answers keep the tokens. The client waits, for Retry-After or with backoff.
 * R6  Only a 401 of the refresh endpoint ends the session.
 * R7  A logout counts at once and stays, whatever is in flight. The service is notified until it confirms, after a reload too.
 * R8  Every call settles within its timeout. Timers measure it, never the clock, which may jump.
 * R9  An instance that was never called holds nothing; `close` ends its subscription, its timers and its requests.
 */
import { InvalidCredentials, LoggedOut, Rejected, Throttled, Unavailable } from './errors.ts'
import { type Answer, rules, type Tokens } from './rules.ts'
import { type Ended, noSession, type Session } from './session.ts'
import { memoryStorage, type SessionStorage, tabStorage } from './storage.ts'

export type ClientState = 'unknown' | 'loggedIn' | 'loggedOut'

export interface ClientOptions {
  /** Where Keyturn is, such as `https://auth.example`. */
  readonly baseUrl: string
  /** `token`: refresh tokens in responses and in `storage`. `cookie`: in a cookie that scripts cannot read (COOKIE_MODE=on). */
  readonly mode?: 'token' | 'cookie'
  /** By default the page's or the process's memory; in cookie mode shared by the tabs. */
  readonly storage?: SessionStorage
  /** The session ended, though `logout` was not called on this instance: show the login. */
  readonly onLoggedOut?: () => void
  readonly onStateChange?: (state: ClientState) => void
  /** Milliseconds within which every call settles; 30,000 by default. */
  readonly timeoutMs?: number
  /** Instead of the global fetch. */
  readonly fetch?: typeof globalThis.fetch
  /** Clock, timers and randomness, for tests. `setTimer` returns what cancels the timer. */
  readonly runtime?: Runtime
}

export interface Runtime {
  now(): number
  random(): number
  setTimer(ms: number, then: () => void): () => void
}

export interface SessionInfo {
  readonly id: string
  readonly created_at: string
  readonly last_used_at: string
  readonly expires_at: string
  readonly ip: string
  readonly user_agent: string
  readonly current: boolean
}

export interface SessionPage {
  readonly sessions: readonly SessionInfo[]
  /** The `after` of the next page; null on the last one. */
  readonly next: string | null
}

/** Where the user is logged in. */
export interface Sessions {
  list(after?: string): Promise<SessionPage>
  end(id: string): Promise<void>
  endOthers(): Promise<void>
}

export interface Client {
  readonly state: ClientState
  /** @throws InvalidCredentials, Throttled, Unavailable; LoggedOut if `logout` was called meanwhile */
  login(username: string, password: string): Promise<void>
  /** Counts at once. @throws Unavailable if the service could not be reached yet; a logout, a login or a page load tries again */
  logout(): Promise<void>
  /** As the global fetch, with the access token: only for services that may see it. @throws LoggedOut, Unavailable */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** A valid access token. `refused` is one that a service has answered with 401. @throws LoggedOut, Unavailable */
  getAccessToken(refused?: string): Promise<string>
  readonly sessions: Sessions
  /** The user's other sessions end. @throws InvalidCredentials, Rejected, Throttled, LoggedOut, Unavailable */
  changePassword(current: string, wanted: string): Promise<void>
  /** Releases everything; a later call starts again. */
  close(): void
}

const systemRuntime: Runtime = {
  now: Date.now,
  random: Math.random,
  setTimer(ms, then) {
    const timer = setTimeout(then, ms)
    return () => clearTimeout(timer)
  }
}

// A retry must arrive within the service's REFRESH_REUSE_GRACE of 10 s; a slow network gets more time at each attempt.
const firstAttemptMs = 4000

type Work<T> = (signal: AbortSignal) => Promise<T>

const endedSince = (since: number, ended: Ended, refresh?: string): Session => ({ ...noSession, since, ended, refresh })

const ignore = (): void => {}

/** See the description at the top. */
export class KeyturnClient implements Client {
  readonly #options: ClientOptions
  readonly #isCookieMode: boolean
  readonly #storage: SessionStorage
  readonly #runtime: Runtime
  readonly #timeoutMs: number
  readonly #calls = new Set<(reason: Error) => void>()
  #session = noSession
  state: ClientState = 'unknown'
  #isLoaded = false
  #unsubscribe: (() => void) | undefined
  /** Tabs refresh at different times. */
  readonly #random: number
  #saving: Promise<void> = Promise.resolve()
  #lastStamp = 0
  #renewal: Promise<void> | undefined
  /** Aborted by a login and a logout: what a refresh or an earlier logout would bring no longer counts. */
  #background = new AbortController()
  /** Why the last attempt failed; a call that times out while waiting reports it. */
  #trouble: Unavailable | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.#isCookieMode = options.mode === 'cookie'
    this.#storage = options.storage ?? (this.#isCookieMode ? tabStorage() : memoryStorage())
    this.#runtime = options.runtime ?? systemRuntime
    this.#timeoutMs = options.timeoutMs ?? 30_000
    this.#random = this.#runtime.random()
  }

  login(username: string, password: string): Promise<void> {
    return this.#call(async (signal) => {
      this.#interrupt()
      await this.#tellLogout(signal, firstAttemptMs).catch(ignore)
      const [since, at] = [this.#stamp(), this.#runtime.now()]
      const answer = await this.#post('/api/token/', { username, password }, signal, this.#timeoutMs)
      if (answer.status === 401) throw new InvalidCredentials()
      if (!answer.body?.access) throw errorOf(answer)
      const { access, refresh } = answer.body
      // In cookie mode a refresh that has begun since would bring back the cookie of the former session.
      this.#interrupt()
      if (this.#take({ ...noSession, since, at, access, refresh }, 'service')) return
      // The user has logged out, or logged in again, in the meantime.
      await this.#post('/api/token/blacklist/', { refresh }, signal, firstAttemptMs)
      throw new LoggedOut()
    })
  }

  logout(): Promise<void> {
    return this.#call(async () => {
      this.#interrupt()
      // Also when there is no session: a login may be in flight.
      this.#take(endedSince(this.#stamp(), this.#mayRefresh() ? 1 : 2, this.#session.refresh), 'logout')
      await this.#insist(this.#tellLogout)
    })
  }

  fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const outer = init.signal ?? (input as Request).signal
    return this.#call(async (own) => {
      // Where signals cannot be combined, the caller's aborts the request, and a timeout only rejects the call.
      const signal = outer ? (AbortSignal.any?.([outer, own]) ?? outer) : own
      const request = new Request(input, { ...init, signal })
      const send = (each: Request, token: string) => {
        each.headers.set('authorization', `Bearer ${token}`)
        return this.#fetch(each)
      }
      const access = await this.#access()
      const response = await send(request.clone(), access)
      return response.status === 401 ? send(request, await this.#access(access)) : response
    }, outer)
  }

  getAccessToken(refused?: string): Promise<string> {
    return this.#call(() => this.#access(refused))
  }

  readonly sessions: Sessions = {
    list: (after) => this.#api('GET', `/api/sessions/${after ? `?after=${encodeURIComponent(after)}` : ''}`),
    end: (id) => this.#api('DELETE', `/api/sessions/${id}/`),
    endOthers: () => this.#api('DELETE', '/api/sessions/?keep=current')
  }

  changePassword(current: string, wanted: string): Promise<void> {
    return this.#api('POST', '/api/password/', { current_password: current, new_password: wanted })
  }

  close(): void {
    this.#interrupt()
    for (const stop of this.#calls) stop(new Unavailable('closed'))
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  // --- Tokens

  async #access(refused?: string): Promise<string> {
    this.#demandSession()
    const age = this.#session.access === refused ? 'expired' : this.#age()
    if (age !== 'live') {
      const renewal = this.#renew().catch((error) => {
        this.#demandSession() // a logout is why
        throw error
      })
      if (age === 'due') renewal.catch(ignore)
      else await renewal
      this.#demandSession()
    }
    return this.#session.access as string
  }

  #age(): 'live' | 'due' | 'expired' {
    return this.#session.access ? rules.ageOf(this.#session, this.#runtime.now(), this.#random) : 'expired'
  }

  #mayRefresh(): boolean {
    return this.#isCookieMode || !!this.#session.refresh
  }

  #demandSession(): void {
    if (!this.#session.ended && this.#mayRefresh()) return
    throw new LoggedOut()
  }

  #renew(): Promise<void> {
    this.#renewal = rules.join(this.#renewal, () => {
      const renewal = this.#insist(this.#refresh)
      const { signal } = this.#background
      renewal
        // As long as the service asks for patience, the failed renewal answers every call.
        .catch(({ retryAfter }) => retryAfter && this.#pause(1000 * retryAfter, signal))
        .then(() => {
          if (this.#renewal === renewal) this.#renewal = undefined
        })
      return renewal
    })
    return this.#renewal
  }

  /** One attempt. Throws Unavailable when another one makes sense. */
  #refresh = async (signal: AbortSignal, ms: number): Promise<void> => {
    const known = this.#session
    // The token to be presented must have been saved: an app that is killed now continues from it.
    await this.#saving
    await this.#read()
    const presented = this.#session
    if (presented !== known && this.#age() !== 'expired') return // another tab was faster
    this.#demandSession()
    const at = this.#runtime.now()
    const { refresh } = presented
    const answer = await this.#post('/api/token/refresh/', { refresh }, signal, ms)
    const verdict = rules.verdictOf(answer, this.#isCookieMode)
    // A tab that was frozen meanwhile asks again: other tabs may be retrying the token, and this successor would overtake them.
    if (verdict === 'failed' || this.#runtime.now() > at + ms) throw errorOf(answer)
    if (verdict === 'renewed') {
      const { access, refresh: successor = refresh } = answer.body as Tokens
      this.#take({ ...presented, access, refresh: successor, step: presented.step + 1, at }, 'service')
    } else {
      await this.#read()
      if (this.#session === presented) this.#take(endedSince(presented.since, 2), 'service')
    }
  }

  // --- What is known

  async #read(): Promise<void> {
    try {
      this.#take((await this.#storage.load()) ?? noSession)
    } catch (cause) {
      throw new Unavailable('storage', cause)
    }
    if (this.#isLoaded) return
    this.#isLoaded = true
    // A logout before the page was loaded, of which the service may not know.
    this.#insist(this.#tellLogout).catch(ignore)
  }

  /**
   * Takes what is newer than the known session, and returns whether it is. What is older is overwritten where it came from. A save
   * that fails matters only once the page is left.
   */
  #take(seen: Session, source?: 'service' | 'logout'): boolean {
    const isNews = rules.isNewer(seen, this.#session)
    if (isNews) {
      this.#session = seen
    }
    this.#announce(source)
    if (source || rules.isNewer(this.#session, seen)) this.#saving = this.#saving.then(this.#save).catch(ignore)
    return isNews
  }

  #save = async (): Promise<void> => {
    const stored = await this.#storage.load()
    if (stored && rules.isNewer(stored, this.#session)) this.#take(stored)
    else await this.#storage.save(this.#session)
  }

  #announce(source?: string): void {
    const isOut = this.#session.ended || !this.#mayRefresh()
    const state = isOut ? 'loggedOut' : this.#session.access ? 'loggedIn' : 'unknown'
    const before = this.state
    if (state === before) return
    this.state = state
    const { onStateChange, onLoggedOut } = this.#options
    // Later, so that an exception or a call of theirs does not disturb a transition.
    queueMicrotask(() => {
      onStateChange?.(state)
      if (before === 'loggedIn' && state === 'loggedOut' && source !== 'logout') onLoggedOut?.()
    })
  }

  /** The rank of a login or a logout: the time, but after all earlier ones even if the clock was set back. */
  #stamp(): number {
    this.#lastStamp = Math.max(this.#runtime.now(), this.#session.since + 1, this.#lastStamp + 1)
    return this.#lastStamp
  }

  // --- The end of a session

  #interrupt(): void {
    this.#background.abort(new Unavailable('closed'))
    this.#background = new AbortController()
    this.#renewal = undefined
  }

  #tellLogout = async (signal: AbortSignal, ms: number): Promise<void> => {
    const { since, ended, refresh } = this.#session
    if (ended !== 1) return
    const answer = await this.#post('/api/token/blacklist/', { refresh }, signal, ms)
    // 400 in cookie mode and 401: there is nothing left to end.
    if (answer.status > 401) throw errorOf(answer)
    this.#take(endedSince(since, 2), 'logout')
  }

  // --- Requests, time and patience

  #api<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#call(async (signal) => {
      const url = this.#options.baseUrl + path
      const answer = await readAnswer(await this.fetch(url, { ...jsonOf(body), method, signal }))
      if (answer.status < 300) return answer.body as T
      throw answer.body?.current_password ? new InvalidCredentials() : errorOf(answer)
    })
  }

  #fetch(input: string | Request, init?: RequestInit): Promise<Response> {
    return (this.#options.fetch ?? fetch)(input, init)
  }

  #post(path: string, body: object, outer: AbortSignal, ms: number): Promise<Answer> {
    const credentials = this.#isCookieMode ? 'include' : 'same-origin'
    return this.#within(ms, outer, (signal) =>
      this.#fetch(this.#options.baseUrl + path, { ...jsonOf(body), method: 'POST', credentials, signal })
        .then(readAnswer)
        .catch((cause) => {
          throw new Unavailable('network', cause)
        })
    )
  }

  /** Repeats an attempt as long as it throws Unavailable. Gives up at once when the service wants more patience than a call has. */
  #insist(attempt: (signal: AbortSignal, ms: number) => Promise<void>): Promise<void> {
    return this.#within(this.#timeoutMs, this.#background.signal, async (signal) => {
      for (let count = 0; ; count++) {
        try {
          await attempt(signal, firstAttemptMs * 2 ** count)
          this.#trouble = undefined
          return
        } catch (error) {
          const ms = 1000 * rules.waitAfter(count, (error as Unavailable).retryAfter, this.#runtime.random())
          if (signal.aborted || !(error instanceof Unavailable) || ms >= this.#timeoutMs) throw error
          this.#trouble = error
          await this.#pause(ms, signal)
        }
      }
    })
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return this.#within(ms, signal, () => new Promise<void>(ignore)).catch(ignore)
  }

  #call<T>(work: Work<T>, outer?: AbortSignal | null): Promise<T> {
    this.#unsubscribe ??= this.#storage.subscribe?.((session) => this.#take(session))
    const loadAndWork: Work<T> = async (signal) => {
      if (!this.#isLoaded) await this.#read()
      return work(signal)
    }
    return this.#within(this.#timeoutMs, outer, loadAndWork)
  }

  /** Settles as `work` does, or rejects after so many milliseconds or with `outer`, also when `work` ignores its signal. */
  #within<T>(ms: number, outer: AbortSignal | null | undefined, work: Work<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const controller = new AbortController()
      const stop = (error: unknown): void => {
        settle()
        reject(error)
        controller.abort(error)
      }
      const onAbort = (): void => stop(outer?.reason)
      const cancel = this.#runtime.setTimer(ms, () => stop(this.#trouble ?? new Unavailable('timed out')))
      const settle = (): void => {
        cancel()
        this.#calls.delete(stop)
        outer?.removeEventListener('abort', onAbort)
      }
      this.#calls.add(stop)
      outer?.addEventListener('abort', onAbort)
      if (outer?.aborted) onAbort()
      else work(controller.signal).finally(settle).then(resolve, reject)
    })
  }
}

const jsonOf = (body?: object): RequestInit =>
  body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}

const readAnswer = async (response: Response): Promise<Answer> => ({
  status: response.status,
  // Undefined for an empty body, for a page of a proxy and for a connection that broke.
  body: await response.json().catch(ignore),
  retryAfter: Number(response.headers.get('retry-after')) || undefined
})

/** What the service refuses for good. Everything else may pass, also what a proxy or a captive portal answers. */
function errorOf({ status, body, retryAfter }: Answer): Error {
  return [400, 403, 404].includes(status)
    ? new Rejected(status, body)
    : new (status === 429 ? Throttled : Unavailable)(`HTTP ${status}`, undefined, retryAfter)
}

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
 *   login answered                 any -> live, unless a logout came after it began. Of two at once, the last answer counts
 *   logout called                  any -> leaving, at once; leaving -> ended when the service confirms it
 *   refresh answered with tokens   due, expired, unknown -> live, if newer than what is known (R3)
 *   refresh answered 401           due, expired, unknown -> ended, if no newer session is known (R6)
 *   refresh not answered           no change; wait, read the storage, try again (R5)
 *   another tab saved a session    the newer one is taken, and a login or logout ends our refresh; an older one is overwritten
 *
 * R1  One refresh at a time per instance; all other calls wait for it.
 * R2  Before each attempt the storage is read: the newest token is presented, and none if another tab has refreshed meanwhile.
 *     There is no lock between tabs: the service answers all of them with the same successor. What was read or answered longer ago
 *     than the attempt's timeout, as in a tab that was frozen, is not used.
 * R3  A session replaces only an older one, by (since, ended, gen, step). So a late response overwrites neither newer tokens,
 *     nor a logout, nor another login. For the storage, this holds if comparing and saving are one step: storage.ts.
 * R4  A refresh begins before the token expires, at a random time from 70 % to 90 % of its lifetime; after a 401 a request is
 *     repeated once.
 * R5  429, 503, network errors and unexpected answers keep the tokens. The client waits, for Retry-After or with backoff.
 * R6  Only a 401 of the refresh endpoint ends the session.
 * R7  A logout takes effect at once and for good, in all tabs, whatever requests are in flight. The service is notified until
 *     it confirms, even after a reload.
 * R8  Every call settles within its timeout. Timers measure it, never the clock, which may jump.
 * R9  An instance that was never called holds nothing; `close` ends its subscription, its timers and its requests, also for a call
 *     that is still loading.
 */
import { InvalidCredentials, LoggedOut, Rejected, Throttled, Unavailable } from './errors.ts'
import type { ClientOptions, ClientState, Runtime } from './options.ts'
import { type Answer, ageOf, isDue, isNewer, isRefused, tokensOf, waitAfter } from './rules.ts'
import { noSession, type Session } from './session.ts'
import { memoryStorage, type SessionStorage, tabStorage } from './storage.ts'

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
  /** The `after` of the next page, which needs no encoding in a URL; null on the last one. */
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
  /** @throws InvalidCredentials, Throttled, Unavailable; LoggedOut if `logout` was called meanwhile, or `mode` is not the service's */
  login(username: string, password: string): Promise<void>
  /**
   * Takes effect at once. @throws Unavailable if the service could not be reached yet; the next logout, login or page load
   * tries again
   */
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

// A retry must arrive within the service's REFRESH_REUSE_GRACE of 10 s; a slow network gets more time at each attempt.
const firstAttemptMs = 4000

/** The result of `load`. A promise is recognised by its `then`, since Angular's zones and React Native replace the class. */
type Loaded = (Session & { readonly then?: undefined }) | Promise<Session | undefined> | undefined

type Work<T> = (signal: AbortSignal) => Promise<T>

const ignore = (): void => {}

/** See the description at the top. */
export class KeyturnClient implements Client {
  readonly #options: ClientOptions
  readonly #isCookieMode: boolean
  readonly #storage: SessionStorage
  readonly #runtime: Runtime
  readonly #timeoutMs: number
  readonly #calls = new Set<() => void>()
  #session = noSession
  state: ClientState = 'unknown'
  #unsubscribe: (() => void) | undefined
  /** Tabs refresh at different times. */
  readonly #random: number
  #saving: Promise<unknown> = Promise.resolve()
  #renewal: Promise<void> | undefined
  /** Aborted by a login and a logout: what a refresh or an earlier logout would bring no longer counts. */
  #background = new AbortController()

  constructor(options: ClientOptions) {
    // Throws TypeError for what is not a URL. Only a page has an origin that completes a path.
    new URL(options.baseUrl, globalThis.location?.href)
    this.#options = options
    this.#isCookieMode = options.mode === 'cookie'
    this.#storage = options.storage ?? (this.#isCookieMode ? tabStorage() : memoryStorage())
    this.#runtime = options.runtime ?? globalThis
    this.#timeoutMs = options.timeoutMs ?? 30_000
    this.#random = this.#runtime.Math.random()
  }

  login(username: string, password: string): Promise<void> {
    return this.#call(async (signal) => {
      this.#interrupt()
      const { since } = this.#session
      await this.#tellLogout(signal, firstAttemptMs).catch(ignore)
      const at = this.#runtime.Date.now()
      const answer = await this.#post('/api/token/', { username, password }, signal)
      const { access, refresh } = tokensOf(answer)
      if (!access) throw isRefused(answer) ? new InvalidCredentials() : errorOf(answer)
      if (this.#session.ended && this.#session.since > since) {
        // The user has logged out in the meantime.
        await this.#post('/api/token/blacklist/', { refresh }, signal, firstAttemptMs)
        throw new LoggedOut()
      }
      // In cookie mode a refresh that has begun since would bring back the cookie of the former session.
      this.#interrupt()
      this.#take({ ...noSession, access, refresh, since: this.#stamp(), at })
      // In token mode there is no session without a refresh token, as from a service that puts it into a cookie.
      this.#age()
    })
  }

  logout(): Promise<void> {
    return this.#call(async () => {
      // A second one does not interrupt the first.
      if (!this.#session.ended) this.#interrupt()
      // Also when there is no session: a login may be in flight.
      const { refresh } = this.#session
      this.#take({ ...noSession, since: this.#stamp(), ended: refresh || this.#isCookieMode ? 1 : 2, refresh }, true)
      await this.#insist(this.#tellLogout)
    })
  }

  fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const outer = init.signal ?? (input as Request).signal
    return this.#call(async (own) => {
      const request = new Request(input, {
        ...init,
        // Where signals cannot be combined, the caller's aborts the request, and a timeout only rejects the call.
        signal: outer ? (AbortSignal.any?.([outer, own]) ?? outer) : own
      })
      const send = (each: Request, token: string) => {
        each.headers.set('authorization', `Bearer ${token}`)
        return (this.#options.fetch ?? fetch)(each)
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
    list: (after) => this.#api('GET', `/api/sessions/${after ? `?after=${after}` : ''}`),
    end: (id) => this.#api('DELETE', `/api/sessions/${id}/`),
    endOthers: () => this.#api('DELETE', '/api/sessions/?keep=current')
  }

  changePassword(current: string, wanted: string): Promise<void> {
    return this.#api('POST', '/api/password/', { current_password: current, new_password: wanted })
  }

  close(): void {
    this.#interrupt()
    for (const abort of this.#calls) abort()
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  // --- Tokens

  async #access(refused?: string): Promise<string> {
    const age = this.#age(refused)
    if (age >= 1) {
      await this.#renew().catch((error) => {
        // It may have failed because of a logout, or another tab has a token.
        if (this.#age(refused) >= 1) throw error
      })
    } else if (isDue(age, this.#random)) this.#renew().catch(ignore)
    // None if the session has ended, or if it is the login of another tab in cookie mode, whose token is still on its way.
    return this.#session.access || this.#access()
  }

  /** 1 or more if a new token is needed. @throws LoggedOut if there is no session */
  #age(refused?: string): number {
    if (this.#isOut()) throw new LoggedOut()
    const { access } = this.#session
    return !access || access === refused ? 1 : ageOf(this.#session, this.#runtime.Date.now())
  }

  #renew(): Promise<void> {
    if (this.#renewal) return this.#renewal
    const { access } = this.#session
    const { signal } = this.#background
    const renewal = this.#insist((signal, ms) => this.#refresh(access, signal, ms))
    renewal
      // Until Retry-After has passed, the failed renewal settles every call.
      .catch(({ retryAfter }) => retryAfter && this.#pause(1000 * retryAfter, signal))
      .then(() => {
        if (!signal.aborted) this.#renewal = undefined
      })
    this.#renewal = renewal
    return renewal
  }

  /** One attempt to replace the access token `former`. Throws Unavailable when another one makes sense. */
  async #refresh(former: string | undefined, signal: AbortSignal, ms: number): Promise<void> {
    const at = this.#runtime.Date.now()
    // A tab that was frozen meanwhile, or whose clock was set, starts over: other tabs have newer tokens.
    const isLate = (): boolean => Math.abs(this.#runtime.Date.now() - at) > ms
    // The token to be presented must have been saved: an app that is killed now continues from it.
    await this.#saving
    await this.#read(signal)
    const presented = this.#session
    if (this.#age(former) < 1) return // another tab was faster
    if (isLate()) throw new Unavailable('timeout')
    const answer = await this.#post('/api/token/refresh/', { refresh: presented.refresh }, signal, ms)
    const { access, refresh = presented.refresh } = tokensOf(answer)
    const hasEnded = isRefused(answer, this.#isCookieMode)
    // Other tabs may be retrying the token that was presented. Saving its successor so late would make their token a superseded
    // one.
    if (!(access || hasEnded) || isLate()) throw errorOf(answer)
    if (hasEnded) {
      await this.#read(signal)
      if (this.#session === presented) this.#take({ ...noSession, since: presented.since, ended: 2 })
    } else this.#take({ ...presented, access, refresh, step: presented.step + 1, at })
  }

  // --- What is known

  async #read(signal: AbortSignal): Promise<void> {
    let stored: Session | undefined
    try {
      stored = await this.#storage.load()
    } catch (cause) {
      throw new Unavailable('storage', { cause })
    }
    if (signal.aborted) throw signal.reason
    this.#take(stored)
    if (this.#unsubscribe) return
    // What other tabs have saved meanwhile is found when `take` compares with the storage.
    this.#unsubscribe =
      this.#storage.subscribe?.((session) => {
        const { since } = this.#session
        this.#take(session)
        if (this.#session.since > since) this.#interrupt()
      }) ?? ignore
    // A logout before the page was loaded, of which the service may not know.
    this.#insist(this.#tellLogout).catch(ignore)
  }

  /**
   * Takes a session if it is newer than the known one, and then compares with the storage, so that it has the newest one too. A
   * failed save matters only once the page is closed.
   */
  #take(seen: Session | undefined, isLogout?: boolean): void {
    if (isNewer(seen, this.#session)) this.#session = seen as Session
    this.#announce(isLogout)
    this.#saving = this.#saving.then(() => this.#save(this.#storage.load() as Loaded)).catch(ignore)
  }

  /** Compares and saves at once where the storage is synchronous, so that no other tab can save in between. */
  #save = (loaded: Loaded): unknown => {
    if (typeof loaded?.then === 'function') return loaded.then(this.#save)
    return isNewer(this.#session, loaded)
      ? this.#storage.save(this.#session)
      : isNewer(loaded, this.#session) && this.#take(loaded)
  }

  #isOut(): unknown {
    return this.#session.ended || !(this.#session.refresh || this.#isCookieMode)
  }

  #announce(isLogout?: boolean): void {
    const before = this.state
    const state = this.#isOut() ? 'loggedOut' : this.#session.access ? 'loggedIn' : before
    if (state === before) return
    this.state = state
    // Later, so that an exception or a call of theirs does not disturb a transition.
    queueMicrotask(() => {
      this.#options.onStateChange?.(state)
      if (before === 'loggedIn' && !isLogout) this.#options.onLoggedOut?.()
    })
  }

  /** The rank of a login or a logout: the time, but after all earlier ones even if the clock was set back. No two tabs have the same. */
  #stamp(): number {
    return Math.max(this.#runtime.Date.now(), this.#session.since + 1) + this.#random
  }

  // --- The end of a session

  #interrupt(): void {
    this.#background.abort(new Unavailable('aborted'))
    this.#background = new AbortController()
    this.#renewal = undefined
  }

  #tellLogout = async (signal: AbortSignal, ms: number): Promise<void> => {
    const { since, ended, refresh } = this.#session
    if (ended !== 1) return
    const answer = await this.#post('/api/token/blacklist/', { refresh }, signal, ms)
    // 400 in cookie mode and 401: there is nothing left to end.
    if (!isRefused(answer) && (answer.status > 400 || !answer.body)) throw errorOf(answer)
    this.#take({ ...noSession, since, ended: 2 })
  }

  // --- Requests, time and patience

  #api<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#call(async (signal) => {
      const url = this.#options.baseUrl + path
      const answer = await readAnswer(await this.fetch(url, { ...jsonOf(body), method, signal }))
      // A captive portal answers 200 to everything.
      if (method === 'GET' ? answer.body?.sessions : answer.status === 204) return answer.body as T
      throw answer.body?.current_password ? new InvalidCredentials() : errorOf(answer)
    })
  }

  #post(path: string, body: object, outer: AbortSignal, ms = this.#timeoutMs): Promise<Answer> {
    return this.#within(ms, outer, (signal) =>
      (this.#options.fetch ?? fetch)(this.#options.baseUrl + path, {
        ...jsonOf(body),
        ...(this.#isCookieMode && { credentials: 'include' }),
        method: 'POST',
        signal
      })
        .then(readAnswer)
        .catch((cause) => {
          throw new Unavailable('network', { cause })
        })
    )
  }

  /**
   * Repeats an attempt as long as it throws Unavailable. Gives up at once if Retry-After is longer than the timeout of the
   * call.
   */
  #insist(attempt: (signal: AbortSignal, ms: number) => Promise<void>): Promise<void> {
    let trouble: unknown
    return this.#within(this.#timeoutMs, this.#background.signal, async (signal) => {
      for (let count = 0; ; count++) {
        try {
          return await attempt(signal, firstAttemptMs * 2 ** count)
        } catch (error) {
          trouble = error
          const ms = 1000 * waitAfter(count, (error as Unavailable).retryAfter, this.#runtime.Math.random())
          if (signal.aborted || !(error instanceof Unavailable) || ms >= this.#timeoutMs) throw error
          await this.#pause(ms, signal)
        }
      }
    }).catch((error) => {
      // After a timeout, its Retry-After still holds.
      throw trouble ?? error
    })
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return this.#within(ms, signal, () => new Promise<void>(ignore)).catch(ignore)
  }

  #call<T>(work: Work<T>, outer?: AbortSignal | null): Promise<T> {
    return this.#within(this.#timeoutMs, outer, async (signal) => {
      if (!this.#unsubscribe) await this.#read(signal)
      return work(signal)
    })
  }

  /** Settles like `work`, or rejects after `ms` milliseconds or when `outer` is aborted, even if `work` ignores its signal. */
  #within<T>(ms: number, outer: AbortSignal | null | undefined, work: Work<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const controller = new AbortController()
      const stop = (error: unknown): void => {
        settle()
        reject(error)
        controller.abort(error)
      }
      const onAbort = (): void => stop(outer?.reason ?? new Unavailable('aborted'))
      // At most twelve days: one of over 2^31 ms would fire at once.
      const timer = this.#runtime.setTimeout(() => stop(new Unavailable('timeout')), Math.min(ms, 1e9))
      const settle = (): void => {
        this.#runtime.clearTimeout(timer)
        this.#calls.delete(onAbort)
        outer?.removeEventListener('abort', onAbort)
      }
      this.#calls.add(onAbort)
      outer?.addEventListener('abort', onAbort)
      if (outer?.aborted) onAbort()
      else work(controller.signal).finally(settle).then(resolve, reject)
    })
  }
}

const jsonOf = (body?: object): RequestInit | undefined =>
  body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }

/** A response without JSON has no body: an empty one, an HTML page of a proxy, or a broken connection. */
const readAnswer = async (response: Response): Promise<Answer> => ({
  status: response.status,
  body: await response.json().catch(ignore),
  // At most a day. A date would depend on the device's clock, so it is ignored.
  retryAfter: Math.min(Math.max(Number(response.headers.get('retry-after')), 0), 86_400) || undefined
})

/** Permanent refusals are Rejected. All other responses may be temporary, including those of a proxy or a captive portal. */
function errorOf(answer: Answer): Error {
  const { status, body } = answer
  const Kind = body && [400, 403, 404].includes(status) ? Rejected : status === 429 ? Throttled : Unavailable
  return Object.assign(new Kind(`HTTP ${status}`), answer)
}

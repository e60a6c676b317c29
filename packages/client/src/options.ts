import type { SessionStorage } from './storage.ts'

export type ClientState = 'unknown' | 'loggedIn' | 'loggedOut'

export interface ClientOptions {
  /** Where Keyturn is, such as `https://auth.example`, without a trailing slash. A path, or nothing, for the origin of the page. */
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

export const systemRuntime: Runtime = {
  now: Date.now,
  random: Math.random,
  setTimer(ms, then) {
    // At most twelve days: one of over 2^31 would fire at once.
    const timer = setTimeout(then, Math.min(ms, 1e9))
    return () => clearTimeout(timer)
  }
}

/** Throws TypeError for what could not work, so that a mistake is found at the start. */
export function checkOptions({ baseUrl, mode = 'token', storage, timeoutMs = 1 } = {} as ClientOptions): void {
  // Only a page has an origin that completes a path.
  if (!/^https?:\/\//.test(baseUrl) && !(globalThis.location && /^(\/|$)/.test(baseUrl))) refuse('baseUrl')
  if (!/^(token|cookie)$/.test(mode)) refuse('mode')
  if (storage && (typeof storage.load !== 'function' || typeof storage.save !== 'function')) refuse('storage')
  if (!(timeoutMs > 0)) refuse('timeoutMs')
}

function refuse(name: string): never {
  throw new TypeError(`createClient: ${name} is not valid`)
}

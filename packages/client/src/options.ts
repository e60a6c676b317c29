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
  /** Clock, randomness and timers, for tests; by default the global ones. */
  readonly runtime?: Runtime
}

export interface Runtime {
  readonly Date: { now(): number }
  readonly Math: { random(): number }
  setTimeout(then: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

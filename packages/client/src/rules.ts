/* The decisions of the state machine (client.ts). The model test replaces one at a time and must notice. */
import { claimsOf, noSession, parseSession, type Session } from './session.ts'

export { isNewer } from './session.ts'

export interface Tokens {
  readonly access: string
  readonly refresh?: string
}

/** A response of the service to one of our own requests. */
export interface Answer {
  readonly status: number
  /** The JSON of the body; undefined where it is something else. */
  readonly body: (Readonly<Record<string, unknown>> & Partial<Tokens>) | undefined
  /** Seconds. */
  readonly retryAfter: number | undefined
}

/** `renewed`: new tokens · `ended`: log in again, or with the right password · undefined: it failed, keep the tokens. */
export type Verdict = 'renewed' | 'ended' | undefined

/**
 * Decides what a response to a login, a refresh or a logout means. Only the service's own 401 ends a session: a 401 without `detail`
 * comes from a proxy, and a 200 without a token from a captive portal.
 */
export function verdictOf({ status, body }: Answer, isCookieMode: boolean): Verdict {
  if (status === 200 && parseSession({ ...noSession, ...body }).access) return 'renewed'
  // In cookie mode a request without the cookie lacks a field.
  return (status === 401 && body?.detail) || (status === 400 && isCookieMode && body?.refresh) ? 'ended' : undefined
}

/** Seconds until the next attempt: at least what the service asked for, with jitter so that clients do not return together. */
export const waitAfter = (attempt: number, retryAfter: number | undefined, random: number): number =>
  (retryAfter as number) > 0
    ? (retryAfter as number) * (1 + random / 4)
    : Math.min(0.25 * 2 ** attempt, 8) * (0.5 + random)

/**
 * `live`: use it · `due`: use it and refresh · `expired`: refresh first. `random` is from 0 to 1 and fixed for a token, so that
 * tabs refresh at different times, between 70 % and 90 % of its lifetime. A clock that was set back makes a token due.
 */
export function ageOf({ access, at }: Session, now: number, random: number): 'live' | 'due' | 'expired' {
  const { iat, exp } = claimsOf(access)
  // Not a number where the claims cannot be read: the token is live until a service refuses it.
  const age = (now - at) / 1000 / (exp - iat)
  return age >= 1 ? 'expired' : age < 0 || age >= 0.7 + 0.2 * random ? 'due' : 'live'
}

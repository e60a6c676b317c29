/* The decisions of the state machine (client.ts). The model test replaces one at a time and must notice. */
import { claimsOf, noSession, parseSession, type Session } from './session.ts'

export { isNewer } from './session.ts'

/** A response of the service to one of our own requests. */
export interface Answer {
  readonly status: number
  /** The JSON of the body; undefined where it is something else. */
  readonly body: Readonly<Record<string, unknown>> | undefined
  /** Seconds. */
  readonly retryAfter: number | undefined
}

/** The tokens of a response to a login or a refresh; none if it failed. A captive portal answers 200 without a token. */
export const tokensOf = ({ status, body }: Answer): Pick<Session, 'access' | 'refresh'> =>
  parseSession({ ...noSession, ...(status === 200 && body) })

/**
 * Whether the service itself refused a password or a refresh token; only this ends a session. A 401 without `detail` comes from a
 * proxy. In cookie mode, a request without the cookie lacks a field.
 */
export const isRefused = ({ status, body }: Answer, isCookieMode?: boolean): unknown =>
  (status === 401 && body?.detail) || (status === 400 && isCookieMode && body?.refresh)

/** Seconds until the next attempt: at least what the service asked for, with jitter so that clients do not return together. */
export const waitAfter = (attempt: number, retryAfter: number | undefined, random: number): number =>
  retryAfter ? retryAfter * (1 + random / 4) : Math.min(0.25 * 2 ** attempt, 8) * (0.5 + random)

/**
 * How much of a token's lifetime has passed: 1 or more when it has expired, less than 0 if the clock was set back. 0 where the claims
 * cannot be read, since such a token is used until a service refuses it.
 */
export function ageOf({ access, at }: Session, now: number): number {
  const { iat, exp } = claimsOf(access)
  return (now - at) / 1000 / (exp - iat) || 0
}

/** Whether to refresh a token of this age early. `random` is from 0 to 1, and each tab has its own: they refresh at different times. */
export const isDue = (age: number, random: number): boolean => age < 0 || age >= 0.7 + 0.2 * random

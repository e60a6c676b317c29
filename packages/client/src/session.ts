/** 0: tokens may be used · 1: the user logged out, which the service has not confirmed yet · 2: the session has ended. */
export type Ended = 0 | 1 | 2

/**
 * What a client knows about its session; the only thing that is ever stored.
 *
 * Every instance, tab and storage holds one `Session`, and whenever two meet, the newer one wins (`isNewer`). The order is total, so
 * all holders end up with the same value in whatever order they learn of it, and no lock is needed.
 */
export interface Session {
  /** When the user logged in or out, in milliseconds by the device's clock. A later login or logout beats an earlier one. */
  readonly since: number
  readonly ended: Ended
  readonly access?: string | undefined
  /** Absent in cookie mode. */
  readonly refresh?: string | undefined
  /** How many refreshes this device has made since the login. */
  readonly step: number
  /** When the request that brought the tokens was sent, in milliseconds by the device's clock. It only estimates their age. */
  readonly at: number
}

export const noSession: Session = { since: 0, ended: 0, step: 0, at: 0 }

/** The claims of a token, unverified; none where it cannot be read. */
export function claimsOf(token: string | undefined): { readonly [claim in 'iat' | 'exp' | 'gen']: number } {
  try {
    const payload = (token as string).split('.')[1] as string
    return Object(JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))))
  } catch {
    return {} as ReturnType<typeof claimsOf>
  }
}

/** `noSession` for what is not a session: a damaged value of a storage, or one of another program or version. */
export function parseSession(value: unknown): Session {
  const { since, ended, step, at = 0, access = '', refresh = '' } = Object(value)
  // To a number below 1e15, 1 can be added: the next login is later, and the next refresh newer.
  const hasNumbers = [since, ended, step, at].every((each) => each % 1e15 === each)
  return hasNumbers && [access, refresh].every((each) => String(each) === each) ? (value as Session) : noSession
}

/**
 * Whether `one` is strictly newer than `other`, by `since`, `ended`, `gen` and `step`. `gen` is the service's own order of the refresh
 * tokens of a session; `step` decides where it cannot be read, as in cookie mode.
 */
export function isNewer(one: Session | undefined, other: Session | undefined): boolean {
  const a = parseSession(one)
  const b = parseSession(other)
  return (
    (a.since - b.since ||
      a.ended - b.ended ||
      // Not a number where one cannot be read.
      claimsOf(a.refresh).gen - claimsOf(b.refresh).gen ||
      a.step - b.step ||
      Number(!b.access) - Number(!a.access)) > 0
  )
}

import { canonicalAddress } from '../addresses.ts'
import type { SessionDevice } from '../hooks.ts'
import { showTime } from '../time.ts'

/**
 * What one login starts: the chain of all refresh tokens that descend from it. Constant in size, however often it is
 * refreshed. Times are whole seconds since 1970, by the store's own clock.
 */
export interface Session {
  readonly userId: string
  /** 128 random bits as 32 hex digits. */
  readonly sid: string
  /** Generation of the newest refresh token: 0 at login, one more at each rotation. */
  readonly generation: number
  /** When that token was first issued: its `iat`. */
  readonly rotatedAt: number
  readonly createdAt: number
  /** The absolute end, which rotation never extends. */
  readonly absoluteExp: number
  /** When the session expires unless it is refreshed: the `exp` of the newest refresh token. */
  readonly expiresAt: number
  /**
   * When the three generations before the newest one's predecessor were superseded, newest first; 0 where that is not
   * known.
   */
  readonly supersededAt: readonly [number, number, number]
  /** The oldest generation superseded in the current burst, and when that was; both 0 before the first rotation. */
  readonly anchorGeneration: number
  readonly anchorAt: number
  readonly lastUsedAt: number
  /** The newest generation whose predecessor was granted a late retry (rotation.ts); 0 before the first one. */
  readonly lateGeneration: number
  readonly device: SessionDevice
}

/** A session with its names and times on the wire and in the output of commands. */
export const showSession = ({ sid, createdAt, lastUsedAt, expiresAt, device }: Session) => ({
  id: sid,
  created_at: showTime(createdAt),
  last_used_at: showTime(lastUsedAt),
  expires_at: showTime(expiresAt),
  ip: device.ip,
  user_agent: device.userAgent
})

// The parts that nearly every browser sends, which distinguish nothing.
const noise = /Mozilla\/5\.0 |AppleWebKit\/[\d.]+ |\(KHTML, like Gecko\) |Gecko\/\d+ /g

/** The part of a request that names its sender. */
interface Sender {
  readonly ip: string
  readonly headers: { readonly 'user-agent'?: string | undefined }
}

/** The device that sent a request, without control characters. A store may keep less of it. */
export const describeDevice = ({ ip, headers: { 'user-agent': userAgent = '' } }: Sender): SessionDevice => ({
  ip: canonicalAddress(ip),
  userAgent: userAgent
    .replace(noise, '')
    .replace(/\p{Cc}/gu, '')
    .slice(0, 200)
})

/** One position in the chain: everything that determines a refresh token, besides its session. */
export interface Generation {
  readonly number: number
  readonly issuedAt: number
  readonly expiresAt: number
}

/** The policy of sessions. Durations are whole seconds. */
export interface SessionPolicy {
  /** Idle lifetime: that of a refresh token. */
  readonly lifetime: number
  readonly absoluteLifetime: number
  /** How long after its rotation a refresh token may be presented again; 0 is never, Infinity is until it expires. */
  readonly grace: number
  /**
   * How long after its rotation, beyond the grace, the predecessor of a token that was never presented is still accepted; 0 is
   * never.
   */
  readonly lateRetry: number
  /** Whether a refresh issues a successor. */
  readonly rotate: boolean
  /** Sessions a user may have at once. */
  readonly maxPerUser: number
}

/** The maximum lifetime of a refresh token of another issuer, in whole seconds: a year. */
export const longestForeignLife = 31_536_000

/** A session as it is when it starts. */
export function startSession(
  userId: string,
  sid: string,
  device: SessionDevice,
  now: number,
  policy: SessionPolicy
): Session {
  const absoluteExp = now + policy.absoluteLifetime
  return {
    userId,
    sid,
    generation: 0,
    rotatedAt: now,
    createdAt: now,
    absoluteExp,
    expiresAt: Math.min(now + policy.lifetime, absoluteExp),
    supersededAt: [0, 0, 0],
    anchorGeneration: 0,
    anchorAt: 0,
    lastUsedAt: now,
    lateGeneration: 0,
    device
  }
}

/** The newest generation of a session. */
export const newestGeneration = (session: Session): Generation => ({
  number: session.generation,
  issuedAt: session.rotatedAt,
  expiresAt: session.expiresAt
})

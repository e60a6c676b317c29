import type { SessionDevice } from '../hooks.ts'
import type { RotationVerdict } from './rotation.ts'
import type { Revocations } from './revocations.ts'
import type { Session } from './session.ts'

/** The position that a refresh token names: the user, the session, and the generation. */
export interface PresentedGeneration {
  readonly userId: string
  readonly sid: string
  readonly generation: number
}

/** A refresh token that another issuer signed with a key we hold. Times are whole seconds since 1970. */
export interface ForeignToken {
  readonly userId: string
  /** Of the session that it becomes: derived from the token, so that it is the same each time. */
  readonly sid: string
  /** 0 if the token does not contain it. */
  readonly issuedAt: number
  readonly expiresAt: number
  /** The lifetime of its session in whole seconds, instead of that of the policy. */
  readonly lifetime?: number
}

/** A place in the list of a user's sessions, which is sorted by login, newest first, and then by sid, greatest first. */
export type SessionPosition = Pick<Session, 'createdAt' | 'sid'>

/** A part of that list: at most `limit` (100) sessions, those `after` a position. */
export interface SessionPage {
  readonly limit?: number
  readonly after?: SessionPosition | undefined
}

export const defaultPage = 100

const newestFirst = (a: SessionPosition, b: SessionPosition): number =>
  b.createdAt - a.createdAt || (a.sid < b.sid ? 1 : a.sid > b.sid ? -1 : 0)

/** A page of sessions that come in any order, some of them twice. */
export function newestOf(
  sessions: readonly Session[],
  limit: number,
  after: SessionPosition | undefined
): readonly Session[] {
  const wanted = sessions.filter((each) => after === undefined || newestFirst(after, each) < 0)
  return [...new Map(wanted.map((each) => [each.sid, each])).values()].sort(newestFirst).slice(0, limit)
}

/**
 * Stores sessions: one record each, with an expiry. Each method checks and changes in one atomic step, which reads at most some
 * thousand sessions. Before it resolves, a session that it ends is in the revocation feed and, if the server has replicas,
 * confirmed by one of them. It throws KeyturnError STORE_DOWN if the store is unreachable; the change may then have happened or
 * not, and calling the method again completes it.
 */
export interface SessionStore {
  /**
   * Starts a session, and ends the user's oldest ones beyond the policy's maxPerUser: `ended` holds their sids. If the user has
   * far more sessions, because there was no limit before, each login ends some of them, but not the newest. `lifetime`, in
   * whole seconds, overrides that of the policy.
   */
  start(
    userId: string,
    device: SessionDevice,
    lifetime?: number
  ): Promise<{ readonly session: Session; readonly ended: readonly string[] }>
  /**
   * Starts the session of a foreign token, which becomes its generation 0, and ends the user's oldest ones beyond maxPerUser, as
   * `start` does; with `endsOthers: false` it ends none. Returns false, and starts none, if this was done before, or if all
   * sessions of the user were ended after the token was issued.
   */
  adopt(token: ForeignToken, device: SessionDevice, options?: { readonly endsOthers?: boolean }): Promise<boolean>
  /** Whether `adopt` would find that it may not start a session for this token. */
  isSpent(token: ForeignToken): Promise<boolean>
  /**
   * Checks and changes in one step: of any number of callers with the same generation, one rotates. `rotates` overrides that of
   * the policy: with false, none rotates, and the generation stays the newest, as in a session of sliding tokens.
   */
  rotate(presented: PresentedGeneration, rotates?: boolean): Promise<RotationVerdict>
  /** The session, unless it has ended. */
  find(userId: string, sid: string): Promise<Session | undefined>
  /** A page of the user's live sessions, newest first. */
  list(userId: string, page?: SessionPage): Promise<readonly Session[]>
  /** Ends the session; false when there was none. */
  revoke(userId: string, sid: string): Promise<boolean>
  /**
   * Ends all sessions of the user except `kept`, and returns their sids. From the first step on, none of them can be refreshed
   * or found; the number of further steps depends on the number of sessions. Calls at the same time may return the same session.
   */
  revokeAll(userId: string, kept?: string): Promise<readonly string[]>
  /** Revokes a single access token, by its `jti` of 32 hex digits. Its session continues. */
  revokeToken(jti: string): Promise<void>
  /** An estimate of the number of sessions, from a bounded number of reads. */
  estimateCount(): Promise<number>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** The feed that announces ended sessions to every worker. */
export interface RevocationFeed {
  /** Keeps `replica` up to date until it is closed. Resolves when the feed has been read for the first time. */
  follow(replica: Revocations): Promise<RevocationFollower>
}

export interface RevocationFollower {
  close(): Promise<void>
}

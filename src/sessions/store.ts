import type { SessionDevice } from '../hooks.ts'
import type { RotationVerdict } from './rotation.ts'
import type { Revocations } from './revocations.ts'
import type { Session } from './session.ts'

/** What a refresh token says of its place: whose session, and where in its line. */
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
  /** 0 when the token does not say. */
  readonly issuedAt: number
  readonly expiresAt: number
  /** How long its session lives, in whole seconds, in place of the policy's. */
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
 * Where sessions are kept: one record each, with an expiry. Each method checks and changes in one atomic step, which looks
 * at no more than some thousand sessions. A session that it ends is in the revocation feed before it resolves, and known to
 * a replica of the server where there is one. It throws KeyturnError STORE_DOWN when the store cannot be reached; it may
 * then have happened or not, and calling it again finishes it.
 */
export interface SessionStore {
  /**
   * Starts a session, and ends the user's oldest ones beyond the policy's maxPerUser: `ended` holds their sids. A user who has
   * far more than that, from before there was a limit, loses some at each login, not the newest. `lifetime`, in whole
   * seconds, takes the place of the policy's.
   */
  start(
    userId: string,
    device: SessionDevice,
    lifetime?: number
  ): Promise<{ readonly session: Session; readonly ended: readonly string[] }>
  /**
   * Starts the session of a foreign token, whose generation 0 the token then is. False, and nothing is done, when that
   * was done before, or when all sessions of the user were ended after the token was issued.
   */
  adopt(token: ForeignToken, device: SessionDevice): Promise<boolean>
  /** Whether `adopt` would find that it may not start a session for this token. */
  isSpent(token: ForeignToken): Promise<boolean>
  /**
   * Check and change in one step: of any number of callers with the same generation, one rotates. `rotates` takes the place of
   * the policy's: with false none does, and the generation stays the newest, as in a session of sliding tokens.
   */
  rotate(presented: PresentedGeneration, rotates?: boolean): Promise<RotationVerdict>
  /** The session, unless it is over. */
  find(userId: string, sid: string): Promise<Session | undefined>
  /** A page of the user's sessions that are not over, newest first. */
  list(userId: string, page?: SessionPage): Promise<readonly Session[]>
  /** Ends the session; false when there was none. */
  revoke(userId: string, sid: string): Promise<boolean>
  /**
   * Ends all sessions of the user, but for the one that is `kept`: the sids that ended. None of them can be refreshed or
   * found from its first step on; how many more steps it takes depends on how many there are.
   */
  revokeAll(userId: string, kept?: string): Promise<readonly string[]>
  /** Revokes one access token alone, by its `jti` of 32 hex digits. Its session goes on. */
  revokeToken(jti: string): Promise<void>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Where ended sessions are announced to every worker. */
export interface RevocationFeed {
  /** Keeps `replica` up to date until it is closed. Resolves when the feed has been read for the first time. */
  follow(replica: Revocations): Promise<RevocationFollower>
}

export interface RevocationFollower {
  close(): Promise<void>
}

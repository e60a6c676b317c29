import type { RotationVerdict } from './rotation.ts'
import type { Session, SessionClient } from './session.ts'

/** What a refresh token says of its place: whose session, and where in its line. */
export interface PresentedGeneration {
  readonly userId: string
  readonly sid: string
  readonly generation: number
}

/**
 * Where sessions are kept: one record each, with an expiry. Each method is one atomic step, and throws KeyturnError
 * STORE_DOWN when the store cannot be reached; it may then have happened or not.
 */
export interface SessionStore {
  /** Starts a session, and ends the user's oldest ones beyond the policy's maxPerUser: `ended` holds their sids. */
  start(
    userId: string,
    client: SessionClient
  ): Promise<{ readonly session: Session; readonly ended: readonly string[] }>
  /** Check and change in one step: of any number of callers with the same generation, one rotates. */
  rotate(presented: PresentedGeneration): Promise<RotationVerdict>
  /** The session, unless it is over. */
  find(userId: string, sid: string): Promise<Session | undefined>
  /** The user's sessions that are not over, newest first. */
  list(userId: string): Promise<readonly Session[]>
  /** Ends the session; false when there was none. */
  revoke(userId: string, sid: string): Promise<boolean>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  close(): Promise<void>
}

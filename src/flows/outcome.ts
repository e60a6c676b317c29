import type { VerdictKind } from '../sessions/rotation.ts'

/** What the log line of a request says of it, in the names of the log. */
export interface Outcome {
  readonly user_id?: string
  readonly sid?: string
  readonly verdict?: VerdictKind
  /** `done`, or why a password that was to be written anew was not. */
  readonly rehash?: string
}

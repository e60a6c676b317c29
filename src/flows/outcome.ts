import type { EventName } from '../audit/event.ts'
import type { Claims } from '../tokens/claims.ts'

/** The fields of a request's log line that flows set, under the names in the log. */
export interface Outcome {
  /** If it differs from the endpoint's default event. */
  readonly event?: EventName
  readonly user_id?: string | undefined
  readonly sid?: string | undefined
  /** The client that sent the request. */
  readonly client_id?: string
  /** Of a rotation, or whether a token is active. */
  readonly verdict?: string | undefined
  /** Of a late retry: the address of the login. */
  readonly login_ip?: string | undefined
  /** `done`, or why a password was not rehashed. */
  readonly rehash?: string
  /** How many tokens a batch had, and how many of them are valid. */
  readonly tokens?: number
  readonly active?: number
}

/** Whose token it was. */
export const outcomeOf = ({ user_id, sid }: Pick<Claims, 'user_id' | 'sid'>): Outcome => ({ user_id, sid })

/** What a door does, as logs, metrics and the audit trail call it. */
export type EventName =
  | 'login'
  | 'refresh'
  | 'verify'
  | 'logout'
  | 'session_end'
  | 'password_change'
  | 'client_token'
  | 'introspect'
  | 'revoke'
  | 'forward_auth'
  | 'revocations'

/** What an administrator does with the command line, or the service with its own keys. */
export type ActName =
  | 'user_create'
  | 'user_password'
  | 'user_activate'
  | 'user_deactivate'
  | 'user_delete'
  | 'user_claims'
  | 'users_import'
  | 'users_export'
  | 'session_revoke'
  | 'key_publish'
  | 'key_activate'
  | 'key_retire'
  | 'key_export'
  | 'keys_reseal'
  | 'client_create'
  | 'client_secret'
  | 'client_delete'

/** One entry of the audit trail: who did what, when, from where, and what came of it. Never a token, a password or a key. */
export interface AuditEvent {
  readonly event: EventName | ActName | 'late_retry'
  /** A verdict, `ok`, or the code of the refusal in small letters. */
  readonly result: string
  /** Whole seconds since 1970. */
  readonly at: number
  readonly userId?: string | undefined
  readonly sid?: string | undefined
  /** A client by its id, a key by its kid; of a late retry the address from which its session was begun. */
  readonly object?: string | undefined
  /** Who did it, where it was no request: `root@host`, or `keyturn` itself. */
  readonly actor?: string | undefined
  /** Where a request came from; empty where it was none. */
  readonly ip: string
  /** The request, or the one run of a command. */
  readonly requestId: string
}

/** Results of a refresh that point to a thief, a lost answer, or somebody who may not go on. */
const refreshes = ['retried', 'late', 'recovered', 'reused', 'unknown', 'user_gone', 'password_changed']

/** What belongs in the audit trail of each event of a door. Of those that are not here, nothing: they are everyday. */
const audited: Readonly<Partial<Record<EventName, readonly string[]>>> = {
  login: ['ok', 'login_failed', 'claims_failed', 'rule_failed'],
  refresh: refreshes,
  logout: ['ok'],
  session_end: ['ok'],
  // The current password may have been guessed at.
  password_change: ['ok', 'fields_invalid'],
  revoke: ['ok']
}

/**
 * Whether what came of a request belongs in the audit trail: what changes who can get in, who tried to and could not, and what
 * points to a thief. A client that failed to prove itself is a try wherever it asks.
 */
export const isAudited = (event: EventName, result: string): boolean =>
  result === 'client_invalid' || audited[event]?.includes(result) === true

/** Results of requests whose sender has proven nothing, or only that it once had a session. */
const failures = ['client_invalid', 'login_failed', 'unknown', 'user_gone', 'password_changed']

/** Whether an entry may be left out while the trail is behind: a failure, which changes nothing. An act never is. */
export const isSheddable = (result: string): boolean => failures.includes(result)

/** Events of endpoints, as named in logs, metrics and the audit trail. */
export type EventName =
  | 'login'
  | 'refresh'
  | 'verify'
  | 'logout'
  | 'session_end'
  | 'password_change'
  | 'password_reset'
  | 'password_reset_request'
  | 'client_token'
  | 'introspect'
  | 'revoke'
  | 'forward_auth'
  | 'revocations'

/** Acts of an administrator on the command line, and of the service on its own keys. */
export type ActName =
  | 'user_create'
  | 'user_password'
  | 'user_activate'
  | 'user_deactivate'
  | 'user_delete'
  | 'user_claims'
  | 'one_time_token'
  | 'one_time_token_redeem'
  | 'user_rename'
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

/** One entry of the audit trail: who did what, when, from where, with what result. Never a token, a password or a key. */
export interface AuditEvent {
  readonly event: EventName | ActName | 'late_retry'
  /** A verdict, `ok`, or an error code in lower case. */
  readonly result: string
  /** Whole seconds since 1970. */
  readonly at: number
  readonly userId?: string | undefined
  readonly sid?: string | undefined
  /** The id of a client, the kid of a key, or for a late retry the address from which its session began. */
  readonly object?: string | undefined
  /** Who acted, unless it was a request: `root@host`, or `keyturn` itself. */
  readonly actor?: string | undefined
  /** The address of the client; empty unless it was a request. */
  readonly ip: string
  /** The id of the request, or of the run of a command. */
  readonly requestId: string
}

/** Results of a refresh that indicate theft, a lost response, or a user who may not continue. */
const refreshes = ['retried', 'late', 'recovered', 'reused', 'unknown', 'user_gone', 'password_changed']

/** Which results of each event are audited. Other events are routine and not audited. */
const audited: Readonly<Partial<Record<EventName, readonly string[]>>> = {
  login: ['ok', 'login_failed', 'claims_failed', 'rule_failed'],
  refresh: refreshes,
  // `token_revoked`: the client may be repeating a logout that was answered 503, whose entry could not be written.
  logout: ['ok', 'token_revoked'],
  session_end: ['ok'],
  // Someone may be guessing the current password. A new password is recorded by its flow, in one transaction with the change.
  password_change: ['sessions_kept', 'fields_invalid'],
  // A token that was used before may have been intercepted. A request for a reset is recorded by its flow, which knows the user.
  password_reset: ['sessions_kept', 'one_time_token_invalid'],
  // `ended`: the client may be repeating a revocation that was answered 503, whose entry could not be written.
  revoke: ['ok', 'ended']
}

/**
 * Whether the result of a request is audited: changes of access, failed attempts to get access, and signs of theft. A failed
 * client authentication is audited at every endpoint.
 */
export const isAudited = (event: EventName, result: string): boolean =>
  result === 'client_invalid' || audited[event]?.includes(result) === true

/**
 * Whether a request changed who has access. Its entry is written before its answer is sent, so that no crash can lose the entry
 * of an act that a client knows of.
 */
export const isAct = (event: EventName, result: string): boolean => acts.includes(result) && isAudited(event, result)

/** Results of acts: `sessions_kept` follows a new password whose request failed when the sessions were to end. */
const acts = ['ok', 'ended', 'sessions_kept']

/** Results of requests whose sender proved nothing, or only that it once had a session. */
const failures = [
  'client_invalid',
  'login_failed',
  'unknown',
  'token_revoked',
  'user_gone',
  'password_changed',
  'one_time_token_invalid',
  'not_sent'
]

/** Whether an entry may be omitted while the trail is behind: only a failure, since an act must be recorded. */
export const isSheddable = (result: string): boolean => failures.includes(result)

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

/** One line of the audit trail: who did what, when, from where, and what came of it. Never a token, a password or a key. */
export interface AuditEvent {
  readonly event: EventName
  /** A verdict, `ok`, or the code of the refusal in small letters. */
  readonly result: string
  /** Whole seconds since 1970. */
  readonly at: number
  readonly userId: string | undefined
  readonly sid: string | undefined
  readonly ip: string
  readonly requestId: string
}

const everyday: readonly EventName[] = ['verify', 'introspect', 'forward_auth', 'client_token']

/**
 * Whether an event belongs in the audit trail: what changes who can get in, and what points to a thief or a lost answer.
 * Everyday refreshes and verifications are in the metrics.
 */
export const isAudited = ({ event, result }: Pick<AuditEvent, 'event' | 'result'>): boolean =>
  event === 'refresh'
    ? ['retried', 'recovered', 'reused', 'unknown'].includes(result)
    : !everyday.includes(event) && result === 'ok'

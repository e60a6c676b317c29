/** Status, and whether a token was presented. */
const statuses = {
  /** The request has no bearer token. */
  not_authenticated: 401,
  /** The token is invalid, expired, revoked or not an access token. */
  token_not_valid: 401,
  /** The token is valid but lacks a required scope. */
  insufficient_scope: 403,
  /**
   * The verifier cannot decide: it has no keys yet, or the revocation stream has been silent for too long. Not a reason to log
   * the user out.
   */
  unavailable: 503
} as const

export type VerifierErrorCode = keyof typeof statuses

export interface VerifierErrorContext {
  /** Why, for the log: more precise than the message, and never part of the response. */
  readonly reason?: string
  /** The scopes that are required, separated by spaces. */
  readonly scope?: string
  readonly cause?: unknown
}

/**
 * Every refusal. `status` and `headers` are what Express and Fastify read of an error; `toJSON()` is the body, in the form of
 * Simple JWT and Keyturn.
 */
export class VerifierError extends Error {
  override readonly name = 'VerifierError'
  readonly code: VerifierErrorCode
  /** 401, 403 or 503. */
  readonly status: number
  readonly statusCode: number
  /** The value of `WWW-Authenticate` (RFC 6750 §3); undefined with 503, where other credentials would not help. */
  readonly challenge: string | undefined
  /** What the response should carry: `www-authenticate` or `retry-after`. */
  readonly headers: Readonly<Record<string, string>>
  readonly reason: string

  constructor(code: VerifierErrorCode, message: string, { reason, scope, cause }: VerifierErrorContext = {}) {
    super(message, cause === undefined ? {} : { cause })
    this.code = code
    this.status = statuses[code]
    this.statusCode = this.status
    this.reason = reason ?? message
    this.challenge = challengeOf(code, message, scope)
    this.headers = this.challenge === undefined ? { 'retry-after': '1' } : { 'www-authenticate': this.challenge }
  }

  toJSON(): { readonly detail: string; readonly code: VerifierErrorCode } {
    return { detail: this.message, code: this.code }
  }
}

/** RFC 6750 §3.1: a request without credentials gets no error code. */
function challengeOf(code: VerifierErrorCode, message: string, scope: string | undefined): string | undefined {
  const challenge = 'Bearer realm="api"'
  if (code === 'not_authenticated') return challenge
  if (code === 'token_not_valid') return `${challenge}, error="invalid_token", error_description="${message}"`
  if (code === 'insufficient_scope') return `${challenge}, error="insufficient_scope", scope="${scope ?? ''}"`
  return undefined
}

export const notAuthenticated = (): VerifierError =>
  new VerifierError('not_authenticated', 'Authentication credentials were not provided.')

/** `reason` is for the log. */
export const invalid = (reason: string): VerifierError =>
  new VerifierError('token_not_valid', 'Token is invalid', { reason })

export const expired = (): VerifierError => new VerifierError('token_not_valid', 'Token is expired')

export const revoked = (): VerifierError => new VerifierError('token_not_valid', 'Token is blacklisted')

export const insufficientScope = (scope: string): VerifierError =>
  new VerifierError('insufficient_scope', 'You do not have permission to perform this action.', {
    reason: `the token lacks a scope of: ${scope}`,
    scope
  })

export const unavailable = (reason: string, cause?: unknown): VerifierError =>
  new VerifierError('unavailable', 'Service temporarily unavailable.', { reason, cause })

/** What a caller receives: a status and a body. The text is Simple JWT's wherever Simple JWT defines the error. */
interface Refusal {
  readonly status: number
  /** Simple JWT's `code` member, only where it sends one. */
  readonly code?: string
  readonly text: string | ((detail: string) => string)
  /** The `error` that OAuth endpoints return, where it is more specific than the status (RFC 6749 §5.2, RFC 7009 §2.2.1). */
  readonly oauth?: string
  /** The `error` in the `WWW-Authenticate` field (RFC 6750 §3.1). */
  readonly bearer?: string
}

/**
 * Every way a request can be refused, one row per code. Tests compare docs/errors.md and src/i18n with it.
 * A text that is a function receives the error's `detail`, which is then public; in the other rows `detail` is only logged.
 */
export const errorTable = {
  FIELDS_INVALID: { status: 400, text: 'Invalid input.' },
  BODY_UNREADABLE: { status: 400, text: (detail) => detail },
  HOST_INVALID: { status: 400, text: 'The request must have exactly one valid Host field.' },
  EXPECTATION: { status: 417, text: 'The request expects more than 100-continue.' },
  TRANSFER_CODING: { status: 501, text: 'The only transfer coding that is implemented is chunked.' },
  NO_METADATA: { status: 404, text: 'There is no metadata, since the setting ISSUER is not a URL.' },
  NOT_FOUND: { status: 404, text: 'Not found.' },
  NAME_TAKEN: { status: 409, text: 'This name is already taken.' },
  UNSUPPORTED_CHANGE: { status: 409, text: (reason) => reason },
  METHOD: { status: 405, text: (method) => `Method "${method}" not allowed.` },
  NOT_ACCEPTABLE: { status: 406, text: 'Could not satisfy the request Accept header.' },
  TOO_LARGE: { status: 413, text: (limit) => `The request body is too large: at most ${limit} bytes are read.` },
  MEDIA_TYPE: { status: 415, text: (type) => `Unsupported media type "${type}" in request.` },
  LOGIN_FAILED: { status: 401, text: 'No active account found with the given credentials' },
  USER_GONE: { status: 401, text: 'No active account found for the given token.', oauth: 'invalid_grant' },
  PASSWORD_CHANGED: { status: 401, text: "The user's password has been changed.", oauth: 'invalid_grant' },
  TOKEN_INVALID: { status: 401, code: 'token_not_valid', text: 'Token is invalid', oauth: 'invalid_grant' },
  TOKEN_EXPIRED: { status: 401, code: 'token_not_valid', text: 'Token is expired', oauth: 'invalid_grant' },
  TOKEN_NO_EXPIRY: { status: 401, code: 'token_not_valid', text: "Token has no 'exp' claim", oauth: 'invalid_grant' },
  TOKEN_REFRESH_EXPIRED: {
    status: 401,
    code: 'token_not_valid',
    text: (claim) => `Token '${claim}' claim has expired`
  },
  TOKEN_NO_REFRESH_EXPIRY: { status: 401, code: 'token_not_valid', text: (claim) => `Token has no '${claim}' claim` },
  TOKEN_NO_ID: { status: 401, code: 'token_not_valid', text: 'Token has no id', oauth: 'invalid_grant' },
  TOKEN_NO_TYPE: { status: 401, code: 'token_not_valid', text: 'Token has no type', oauth: 'invalid_grant' },
  TOKEN_WRONG_TYPE: { status: 401, code: 'token_not_valid', text: 'Token has wrong type', oauth: 'invalid_grant' },
  TOKEN_REVOKED: { status: 401, code: 'token_not_valid', text: 'Token is blacklisted', oauth: 'invalid_grant' },
  TOKEN_REUSED: { status: 401, code: 'token_not_valid', text: 'Token is blacklisted', oauth: 'invalid_grant' },
  BEARER_MISSING: { status: 401, text: 'Authentication credentials were not provided.' },
  BEARER_MALFORMED: {
    status: 401,
    code: 'bad_authorization_header',
    text: 'Authorization header must contain two space-delimited values'
  },
  BEARER_INVALID: {
    status: 401,
    code: 'token_not_valid',
    text: 'Given token not valid for any token type',
    bearer: 'invalid_token'
  },
  BEARER_NO_USER: {
    status: 401,
    code: 'token_not_valid',
    text: 'Token contained no recognizable user identification',
    bearer: 'invalid_token'
  },
  BEARER_USER_GONE: { status: 401, code: 'user_not_found', text: 'User not found', bearer: 'invalid_token' },
  BEARER_USER_INACTIVE: { status: 401, code: 'user_inactive', text: 'User is inactive', bearer: 'invalid_token' },
  SCOPE_MISSING: {
    status: 403,
    text: 'You do not have permission to perform this action.',
    bearer: 'insufficient_scope'
  },
  BEARER_PASSWORD_CHANGED: {
    status: 401,
    code: 'password_changed',
    text: "The user's password has been changed.",
    bearer: 'invalid_token'
  },
  ONE_TIME_TOKEN_INVALID: { status: 400, text: 'This token is invalid, has expired, or was already used.' },
  CROSS_SITE: { status: 403, text: 'This origin may not use the refresh cookie.' },
  CLIENT_INVALID: { status: 401, text: 'Client authentication failed.', oauth: 'invalid_client' },
  CLIENT_OTHER: { status: 400, text: 'This token was issued to another client.', oauth: 'unauthorized_client' },
  OAUTH_REQUEST: { status: 400, text: (detail) => detail, oauth: 'invalid_request' },
  GRANT_UNSUPPORTED: {
    status: 400,
    text: 'The grant types are refresh_token and client_credentials.',
    oauth: 'unsupported_grant_type'
  },
  SCOPE_INVALID: { status: 400, text: (detail) => detail, oauth: 'invalid_scope' },
  REVOCATION_UNSUPPORTED: {
    status: 400,
    text: 'This access token cannot be revoked: end its session by its refresh token, or wait until it expires.',
    oauth: 'unsupported_token_type'
  },
  RATE_LIMITED: {
    status: 429,
    oauth: 'temporarily_unavailable',
    text: (seconds) => `Request was throttled. Expected available in ${seconds} second${seconds === '1' ? '' : 's'}.`
  },
  RULE_FAILED: { status: 500, text: 'A server error occurred.', oauth: 'server_error' },
  CLAIMS_FAILED: { status: 500, text: 'A server error occurred.', oauth: 'server_error' },
  BUSY: { status: 503, text: 'Service temporarily unavailable.', oauth: 'temporarily_unavailable' },
  STORE_DOWN: { status: 503, text: 'Service temporarily unavailable.', oauth: 'temporarily_unavailable' },
  SERVER_ERROR: { status: 500, text: 'A server error occurred.', oauth: 'server_error' }
} as const satisfies Record<string, Refusal>

export type ErrorCode = keyof typeof errorTable

/** The detail of BODY_UNREADABLE where there is nothing more to report. */
export const unreadable = 'The request cannot be read.'

/** Field name to its messages, as Django REST framework answers them: `{"username":["This field is required."]}`. */
export type FieldMessages = Readonly<Record<string, readonly FieldMessage[]>>

/** The error messages of fields; `{}` stands for a value. src/i18n has a translation of each. */
export const fieldMessages = [
  'No data provided',
  'Invalid data. Expected a dictionary, but got {}.',
  'This field is required.',
  'This field may not be null.',
  'This field may not be blank.',
  'Not a valid string.',
  'Expected a list of items but got type "{}".',
  'This list may not be empty.',
  'Ensure this field has no more than {} elements.',
  'Item {}: Not a valid string.',
  'Must be a valid boolean.',
  'A valid integer is required.',
  'Ensure this value is less than or equal to {}.',
  'Ensure this value is greater than or equal to {}.',
  'Expected a dictionary of items but got type "{}".',
  'Null characters are not allowed.',
  'Surrogate characters are not allowed: U+{}.',
  'Ensure this field has no more than {} characters.',
  'Ensure this field has no more than {} bytes.',
  'It must be "{}".',
  'It {}.',
  'This is not the current password.',
  'The password must not contain a NUL character.',
  'The password must be Unicode text.',
  'The password must not begin or end with white space.',
  'The password is too long: at most {} bytes are allowed.',
  'The password must not be empty.',
  'The password is too short: at least {} characters are needed.',
  'The password is too similar to the username or to the name of the service.',
  'The password is too common: many people use it.'
] as const

/** One of `fieldMessages` with its value: `It must be "${string}".` Simple JWT also has one error of a token there. */
export type FieldMessage = Filled<(typeof fieldMessages)[number]> | (typeof errorTable)['TOKEN_REVOKED']['text']

type Filled<Template extends string> = Template extends `${infer Before}{}${infer After}`
  ? `${Before}${string}${After}`
  : Template

export interface ErrorOptions {
  /** Inserted into texts that take one, otherwise only logged. Never a token, password or key. */
  readonly detail?: string
  readonly fields?: FieldMessages
  /** Further members of the body. */
  readonly more?: object
  /** Whole seconds after which to retry, 1 by default: the minimum of Retry-After (src/limits/retry-after.ts). */
  readonly retryAfter?: number
  /** The user, the session and the verdict of a rotation that the refusal is about, for the log and the audit trail only. */
  readonly userId?: string | undefined
  readonly sid?: string
  readonly verdict?: string
  readonly cause?: unknown
}

/**
 * The only error that Keyturn throws on purpose; any other is a bug and becomes SERVER_ERROR. An error of the caller (any
 * status but 500) has no stack trace, only its cause has.
 */
export class KeyturnError extends Error {
  override readonly name = 'KeyturnError'
  readonly code: ErrorCode
  readonly status: number
  readonly detail: string | undefined
  readonly fields: FieldMessages | undefined
  readonly more: object | undefined
  readonly retryAfter: number | undefined
  readonly userId: string | undefined
  readonly sid: string | undefined
  readonly verdict: string | undefined

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    // The stack trace of a refusal is not used, and capturing it takes 5 to 20 µs of the few hundred that a refusal costs.
    const { stackTraceLimit } = Error
    if (errorTable[code].status !== 500) Error.stackTraceLimit = 0
    super(options.detail === undefined ? code : `${code}: ${options.detail}`, { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.status = errorTable[code].status
    this.detail = options.detail
    this.fields = options.fields
    this.more = options.more
    this.retryAfter = options.retryAfter
    this.userId = options.userId
    this.sid = options.sid
    this.verdict = options.verdict
  }

  /** The JSON body of the response. */
  get body(): object {
    if (this.fields !== undefined) return this.fields
    const { code } = this.#row
    return { detail: this.text, ...(code === undefined ? {} : { code }), ...this.more }
  }

  /** The JSON body of an OAuth endpoint's response. RFC 6749 §5.2 allows only ASCII without quotes and backslashes. */
  get oauthBody(): { readonly error: string; readonly error_description: string } {
    const [field] = Object.entries(this.fields ?? {})
    const text = field === undefined ? this.text : `${field[0]}: ${field[1].join(' ')}`
    return {
      error: this.#row.oauth ?? 'invalid_request',
      error_description: text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")
    }
  }

  /** The status of an OAuth endpoint's response: a rejected refresh token is an invalid grant (RFC 6749 §5.2). */
  get oauthStatus(): number {
    return this.#row.oauth === 'invalid_grant' ? 400 : this.status
  }

  /** The human-readable text of the response. */
  get text(): string {
    const { text } = this.#row
    return typeof text === 'string' ? text : text(this.detail ?? '')
  }

  /** The `error` in the `WWW-Authenticate` field, if any (RFC 6750 §3). */
  get bearer(): string | undefined {
    return this.#row.bearer
  }

  get #row(): Refusal {
    return errorTable[this.code]
  }
}

/** An error that an operator can fix: its message says what is wrong and what to do, and its stack trace is not needed. */
export abstract class OperatorError extends Error {
  /** The exit status of a command that fails with it. */
  abstract readonly exitCode: number
}

/** The message for the operator, and the exit status; undefined for a bug, whose stack trace is needed. */
export function explain(error: unknown): { readonly message: string; readonly exitCode: number } | undefined {
  if (error instanceof OperatorError) return error
  if (error instanceof KeyturnError && error.code === 'STORE_DOWN') {
    const message = `A store cannot be reached (${error.detail}). Check that it is running and that DATABASE_URL, REDIS_URL or DATA_DIR is correct.`
    return { message, exitCode: 1 }
  }
  if (error instanceof KeyturnError && error.code === 'UNSUPPORTED_CHANGE') return { message: error.text, exitCode: 1 }
  return undefined
}

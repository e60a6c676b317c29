import { type ErrorCode, type ErrorOptions, KeyturnError } from '../../src/errors.ts'
import { messagesOf, type ParametersSchema } from '../../src/parameters.ts'

const Refusal = {
  title: 'Refusal',
  type: 'object',
  required: ['detail'],
  properties: {
    detail: { type: 'string', description: 'Message for people; the wording may change' },
    code: { type: 'string', description: 'Error code for programs, where Simple JWT defines one' },
    messages: { type: 'array', items: { type: 'object', additionalProperties: { type: 'string' } } }
  }
}

/** Messages by field, or one detail about the whole body. */
const FieldRefusal = {
  title: 'FieldRefusal',
  type: 'object',
  additionalProperties: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] }
}

/** RFC 6749 §5.2. */
const OAuthRefusal = {
  title: 'OAuthRefusal',
  type: 'object',
  required: ['error', 'error_description'],
  properties: { error: { type: 'string' }, error_description: { type: 'string' } }
}

/** An error that an endpoint declares: a code, an error, or a status that stands for its usual errors. */
type Named = ErrorCode | KeyturnError | number

/** The most common error of a field. */
export const missing = (field: string): KeyturnError =>
  new KeyturnError('FIELDS_INVALID', { fields: { [field]: ['This field is required.'] } })

/** What the parameters of a query are refused with (plugins/fields.ts). */
export const wrongQuery = (schema: ParametersSchema): KeyturnError =>
  new KeyturnError('FIELDS_INVALID', { fields: messagesOf(schema) })

const usual: Readonly<Record<number, readonly (ErrorCode | KeyturnError)[]>> = {
  400: [missing('token')],
  401: ['TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_WRONG_TYPE', 'TOKEN_REVOKED'],
  403: ['CROSS_SITE'],
  404: ['NOT_FOUND'],
  429: ['RATE_LIMITED'],
  503: ['STORE_DOWN']
}

/** Errors of a body that cannot be parsed. */
export const bodyRefusals: readonly ErrorCode[] = ['BODY_UNREADABLE', 'TOO_LARGE', 'MEDIA_TYPE']

/** Errors of a request without a valid access token. */
export const bearerRefusals: readonly ErrorCode[] = [
  'BEARER_MISSING',
  'BEARER_MALFORMED',
  'BEARER_INVALID',
  'BEARER_NO_USER',
  'BEARER_USER_GONE',
  'BEARER_USER_INACTIVE'
]

/** Details for the examples of errors that have some. */
const examples: Partial<Record<ErrorCode, ErrorOptions>> = {
  BODY_UNREADABLE: { detail: 'JSON parse error - the body is not valid JSON' },
  TOO_LARGE: { detail: '16384' },
  MEDIA_TYPE: { detail: 'text/plain' },
  RATE_LIMITED: { detail: '12' },
  OAUTH_REQUEST: { detail: 'Duplicate parameter.' },
  SCOPE_INVALID: { detail: 'A session has no scope to choose from.' },
  BEARER_INVALID: {
    more: { messages: [{ token_class: 'AccessToken', token_type: 'access', message: 'Token is expired' }] }
  }
}

/** Response schemas of the errors of an endpoint under /api/, with examples. */
export const refusals = (...named: readonly Named[]) => openRefusals(...named, 'NOT_ACCEPTABLE')

/** The same for endpoints that ignore Accept. */
export const openRefusals = (...named: readonly Named[]) =>
  byStatus(
    [...named, 'SERVER_ERROR'],
    ({ status, body }) => ({ status, body }),
    (status) => (status === 400 ? FieldRefusal : Refusal)
  )

/** The same for the OAuth endpoints. */
export const oauthRefusals = (...named: readonly Named[]) =>
  byStatus(
    [...named, 'SERVER_ERROR'],
    ({ oauthStatus: status, oauthBody: body }) => ({ status, body }),
    () => OAuthRefusal
  )

const challenge = {
  'WWW-Authenticate': { type: 'string', description: 'How to authenticate, and why authentication failed' }
}
const retryAfter = { 'Retry-After': { type: 'integer', description: 'Seconds to wait before a retry' } }

function byStatus(
  named: readonly Named[],
  answer: (error: KeyturnError) => { readonly status: number; readonly body: object },
  schemaOf: (status: number) => object
): Record<number, object> {
  const errors = named
    .flatMap((each) => (typeof each === 'number' ? (usual[each] ?? []) : [each]))
    .map((each) => (typeof each === 'string' ? new KeyturnError(each, examples[each]) : each))
  const statuses = [...new Set(errors.map((each) => answer(each).status))]
  return Object.fromEntries(
    statuses.map((status) => {
      const those = errors.filter((each) => answer(each).status === status)
      const codes = [...new Set(those.map(({ code }) => code))]
      return [
        status,
        {
          ...schemaOf(status),
          // The rest is for @fastify/swagger; the codes are those of docs/errors.md.
          ...(status === 401 || those.some(({ bearer }) => bearer !== undefined) ? { headers: challenge } : {}),
          ...(status === 429 || status === 503 ? { headers: retryAfter } : {}),
          'x-response-description': codes.join(', '),
          'x-examples': Object.fromEntries(those.map((each) => [each.code, { value: answer(each).body }]))
        }
      ]
    })
  )
}

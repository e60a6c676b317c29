/** A string field, parsed by src/fields.ts: a number is converted to a string, surrounding white space is removed. */
const text = (description: string) => ({ type: 'string', description }) as const

/** Tokens in examples: only the header, so that they cannot be mistaken for real ones. */
export const anAccessToken = 'eyJhbGciOiJFUzI1NiIs…'
export const aRefreshToken = 'eyJhbGciOiJIUzI1NiIs…'
export const aSessionId = '3b2569e0499ac45fa5d562726988538c'

export const CredentialsBody = {
  title: 'Credentials',
  type: 'object',
  required: ['username', 'password'],
  properties: { username: text('Username'), password: text('Password') },
  examples: [{ username: 'vitor', password: 'correct-horse-battery' }]
} as const

export const PasswordBody = {
  type: 'object',
  required: ['current_password', 'new_password'],
  properties: { current_password: text('Current password'), new_password: text('New password') },
  examples: [{ current_password: 'correct-horse-battery', new_password: 'staple-under-the-bridge' }]
} as const

/** A one-time token in examples, shortened. */
export const aOneTimeToken = 'mB2iUQ3j8mXn…'

export const PasswordResetBody = {
  type: 'object',
  required: ['token', 'new_password'],
  properties: {
    token: text('A one-time token for a password reset or an invitation'),
    new_password: text('New password')
  },
  examples: [{ token: aOneTimeToken, new_password: 'staple-under-the-bridge' }]
} as const

export const UsernameBody = {
  type: 'object',
  required: ['username'],
  properties: { username: text('Username') },
  examples: [{ username: 'vitor' }]
} as const

export const TokenBody = {
  type: 'object',
  required: ['token'],
  properties: { token: text('An access, refresh or sliding token') },
  examples: [{ token: anAccessToken }]
} as const

export const SlidingBody = {
  type: 'object',
  required: ['token'],
  properties: { token: text('A sliding token') },
  examples: [{ token: aRefreshToken }]
} as const

/** The response of endpoints that issue a single token. */
export const Token = {
  title: 'Token',
  description: 'The sliding token',
  type: 'object',
  required: ['token'],
  properties: { token: { type: 'string' } },
  examples: [{ token: aRefreshToken }]
} as const

/** In cookie mode the field is optional, since the token may be in the cookie. */
export const refreshBody = (inCookieToo: boolean) =>
  ({
    type: 'object',
    ...(inCookieToo ? {} : { required: ['refresh'] }),
    properties: { refresh: text('A refresh token') },
    examples: [{ refresh: aRefreshToken }]
  }) as const

export const Empty = {
  description: 'Success',
  type: 'object',
  properties: {},
  examples: [{}]
} as const

/** The state of a token; for an invalid one only that it is inactive. */
export const Introspection = {
  title: 'Introspection',
  description: 'Whether the token is active, and its claims',
  type: 'object',
  required: ['active'],
  properties: {
    active: { type: 'boolean', description: 'Whether the token is currently valid; if false, no claims are returned' }
  },
  additionalProperties: true
} as const

/** A response without a body. */
export const nothing = (description: string) => ({ description, type: 'null' }) as const

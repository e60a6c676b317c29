/** A text field, read by src/fields.ts: a number counts as its text, white space around it does not count. */
const text = (description: string) => ({ type: 'string', description }) as const

/** What stands for tokens in examples: their headers only, so that nobody takes one for real. */
export const anAccessToken = 'eyJhbGciOiJFUzI1NiIs…'
export const aRefreshToken = 'eyJhbGciOiJIUzI1NiIs…'
export const aSessionId = '3b2569e0499ac45fa5d562726988538c'

export const CredentialsBody = {
  title: 'Credentials',
  type: 'object',
  required: ['username', 'password'],
  properties: { username: text('Name of the user'), password: text('Password of the user') },
  examples: [{ username: 'vitor', password: 'correct-horse-battery' }]
} as const

export const PasswordBody = {
  type: 'object',
  required: ['current_password', 'new_password'],
  properties: { current_password: text('Password as it is'), new_password: text('Password as it shall be') },
  examples: [{ current_password: 'correct-horse-battery', new_password: 'staple-under-the-bridge' }]
} as const

export const TokenBody = {
  type: 'object',
  required: ['token'],
  properties: { token: text('Any token of ours') },
  examples: [{ token: anAccessToken }]
} as const

export const SlidingBody = {
  type: 'object',
  required: ['token'],
  properties: { token: text('The sliding token') },
  examples: [{ token: aRefreshToken }]
} as const

/** What a door hands out that has one token to give. */
export const Token = {
  title: 'Token',
  description: 'The sliding token',
  type: 'object',
  required: ['token'],
  properties: { token: { type: 'string' } },
  examples: [{ token: aRefreshToken }]
} as const

/** In cookie mode the field may be absent: the cookie then counts. */
export const refreshBody = (inCookieToo: boolean) =>
  ({
    type: 'object',
    ...(inCookieToo ? {} : { required: ['refresh'] }),
    properties: { refresh: text('The refresh token') },
    examples: [{ refresh: aRefreshToken }]
  }) as const

export const Empty = {
  description: 'Yes, and nothing more to tell',
  type: 'object',
  properties: {},
  examples: [{}]
} as const

/** What is said of a token: of one that is not good, only that. */
export const Introspection = {
  title: 'Introspection',
  description: 'The claims of the token',
  type: 'object',
  required: ['active'],
  properties: {
    active: { type: 'boolean', description: 'Whether the token is good right now; if not, nothing else is told' }
  },
  additionalProperties: true
} as const

/** An answer without a body. */
export const nothing = (description: string) => ({ description, type: 'null' }) as const

import Type from 'typebox'

/** A text field, read by src/fields.ts: a number counts as its text, white space around it does not count. */
const text = (description: string) => Type.String({ description })

/** What stands for tokens in examples: their headers only, so that nobody takes one for real. */
export const anAccessToken = 'eyJhbGciOiJFUzI1NiIs…'
export const aRefreshToken = 'eyJhbGciOiJIUzI1NiIs…'
export const aSessionId = '3b2569e0499ac45fa5d562726988538c'

export const CredentialsBody = Type.Object(
  { username: text('Name of the user'), password: text('Password of the user') },
  { title: 'Credentials', examples: [{ username: 'vitor', password: 'correct-horse-battery' }] }
)

export const PasswordBody = Type.Object(
  { current_password: text('Password as it is'), new_password: text('Password as it shall be') },
  { examples: [{ current_password: 'correct-horse-battery', new_password: 'staple-under-the-bridge' }] }
)

export const TokenBody = Type.Object({ token: text('Any token of ours') }, { examples: [{ token: anAccessToken }] })

export const SlidingBody = Type.Object({ token: text('The sliding token') }, { examples: [{ token: aRefreshToken }] })

/** What a door hands out that has one token to give. */
export const Token = Type.Object(
  { token: Type.String() },
  { title: 'Token', description: 'The sliding token', examples: [{ token: aRefreshToken }] }
)

/** In cookie mode the field may be absent: the cookie then counts. */
export const refreshBody = (inCookieToo: boolean) => {
  const refresh = text('The refresh token')
  return Type.Object(
    { refresh: inCookieToo ? Type.Optional(refresh) : refresh },
    { examples: [{ refresh: aRefreshToken }] }
  )
}

export const Empty = Type.Object({}, { description: 'Yes, and nothing more to tell', examples: [{}] })

/** What is said of a token: of one that is not good, only that. */
export const Introspection = Type.Object(
  { active: Type.Boolean({ description: 'Whether the token is good right now; if not, nothing else is told' }) },
  { additionalProperties: true, description: 'The claims of the token', title: 'Introspection' }
)

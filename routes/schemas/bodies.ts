import Type from 'typebox'

/** A text field, read by src/fields.ts: a number counts as its text, white space around it does not count. */
const text = (description: string) => Type.String({ description })

export const CredentialsBody = Type.Object({
  username: text('Name of the user'),
  password: text('Password of the user')
})

export const PasswordBody = Type.Object({
  current_password: text('Password as it is'),
  new_password: text('Password as it shall be')
})

export const TokenBody = Type.Object({ token: text('Any token of ours') })

export const SlidingBody = Type.Object({ token: text('The sliding token') })

/** What a door hands out that has one token to give. */
export const Token = Type.Object({ token: Type.String() })

/** In cookie mode the field may be absent: the cookie then counts. */
export const refreshBody = (inCookieToo: boolean) => {
  const refresh = text('The refresh token')
  return Type.Object({ refresh: inCookieToo ? Type.Optional(refresh) : refresh })
}

export const Empty = Type.Object({})

/** What is said of a token: of one that is not good, only that. */
export const Introspection = Type.Object({ active: Type.Boolean() }, { additionalProperties: true })

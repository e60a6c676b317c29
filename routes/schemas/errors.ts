import Type from 'typebox'

const Detail = Type.Object({
  detail: Type.String(),
  code: Type.Optional(Type.String()),
  messages: Type.Optional(Type.Array(Type.Record(Type.String(), Type.String())))
})

/** Messages by field, or one detail about the whole body. */
const Fields = Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String())]))

/** The schemas of the refusals a door may answer with. */
export const refusals = (...statuses: readonly number[]) =>
  Object.fromEntries(statuses.map((status) => [status, status === 400 ? Fields : Detail]))

/** RFC 6749 §5.2. */
const OAuthError = Type.Object({ error: Type.String(), error_description: Type.String() })

/** The same for the OAuth doors. */
export const oauthRefusals = (...statuses: readonly number[]) =>
  Object.fromEntries(statuses.map((status) => [status, OAuthError]))

import type { Claims, TokenType } from './claims.ts'
import type { Payload } from './codec.ts'

interface ActiveToken {
  readonly active: true
  readonly [name: string]: unknown
}

/** The introspection of a token, in wire names. JSON omits undefined members. */
export type Introspection = { readonly active: false } | ActiveToken

/** The response for an invalid token. Reasons would help an attacker who tries tokens (RFC 7662 §2.2). */
export const inactive: Introspection = { active: false }

/** A valid token, with its claims unchanged. */
export const showClaims = (payload: Payload): ActiveToken =>
  // The first spread determines the order, the last one the values.
  Object.assign({ active: true as const }, payload, { active: true as const })

export interface TokenDescription {
  readonly claims: Claims
  readonly use: TokenType
  readonly username?: string
}

/**
 * A valid token in the form of RFC 7662 §2.2: its claims, overridden by Keyturn's members under the names of RFC 7662, whatever the
 * claims are called. `token_type` is how an access or sliding token is used (RFC 6749 §5.1), which differs from Simple JWT's claim of
 * that name; that one is `token_use`. A refresh token is not used as Bearer and has no `token_type`.
 */
export function describeToken(payload: Payload, { claims, use, username }: TokenDescription): ActiveToken {
  const { jti = payload.jti, user_id, client_id } = claims
  // Spreading an object that was assigned to costs four times as much.
  return Object.assign(showClaims(payload), {
    token_type: use === 'refresh' ? undefined : 'Bearer',
    token_use: use,
    jti,
    sub: user_id ?? client_id,
    username: username ?? payload.username
  })
}

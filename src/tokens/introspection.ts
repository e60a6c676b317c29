import type { Claims, TokenType } from './claims.ts'
import type { Payload } from './codec.ts'

interface ActiveToken {
  readonly active: true
  readonly [name: string]: unknown
}

/** What is said of a token, in wire names. What is undefined is not said: JSON leaves it out. */
export type Introspection = { readonly active: false } | ActiveToken

/** All that is said of a token that is not good: the reason would help somebody who tries tokens (RFC 7662 §2.2). */
export const inactive: Introspection = { active: false }

/** A good token by its claims, as they are in it. */
export const showClaims = (payload: Payload): ActiveToken =>
  // The first one has the first place, the last one the last word.
  Object.assign({ active: true as const }, payload, { active: true as const })

export interface TokenDescription {
  readonly claims: Claims
  readonly use: TokenType
  readonly username?: string
}

/**
 * A good token as RFC 7662 §2.2 describes it: what it carries, and over that what Keyturn itself says, under the names of RFC 7662
 * whatever settings call the claims. `token_type` is how an access or a sliding token is used (RFC 6749 §5.1), which is another
 * thing than Simple JWT's claim of that name: that is told as `token_use`. A refresh token is not used as Bearer, and so has no
 * `token_type`.
 */
export function describeToken(payload: Payload, { claims, use, username }: TokenDescription): ActiveToken {
  const { jti = payload.jti, user_id, client_id } = claims
  // Spread, an object that was assigned to costs four times as much.
  return Object.assign(showClaims(payload), {
    token_type: use === 'refresh' ? undefined : 'Bearer',
    token_use: use,
    jti,
    sub: user_id ?? client_id,
    username: username ?? payload.username
  })
}

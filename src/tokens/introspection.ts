import type { Claims } from './claims.ts'
import type { Payload } from './codec.ts'

interface ActiveToken {
  readonly active: true
  readonly [name: string]: unknown
}

/** What is said of a token, in wire names. */
export type Introspection = { readonly active: false } | ActiveToken

/** All that is said of a token that is not good: the reason would help somebody who tries tokens (RFC 7662 §2.2). */
export const inactive: Introspection = { active: false }

/** A good token by its claims, as they are in it. */
export function showClaims({ active: _, ...claims }: Payload): ActiveToken {
  return { active: true, ...claims }
}

/**
 * A good token as RFC 7662 §2.2 describes it: what it carries, and over that what Keyturn itself says. `token_type` is
 * how an access token is used (RFC 6749 §5.1), which is another thing than Simple JWT's claim of that name: that is
 * told as `token_use`. A refresh token is not used as Bearer, and so has no `token_type`.
 */
export function describeToken(
  { token_type: use, ...payload }: Payload,
  claims: Claims,
  username?: string
): ActiveToken {
  return {
    ...showClaims(payload),
    ...(use === 'access' ? { token_type: 'Bearer' } : {}),
    token_use: use,
    jti: claims.jti,
    sub: claims.user_id ?? claims.client_id,
    ...(username === undefined ? {} : { username })
  }
}

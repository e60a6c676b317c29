import { describeToken, inactive, type Introspection } from '../tokens/introspection.ts'
import type { Claims } from '../tokens/claims.ts'
import { outcomeOf, type Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import { makeVerify, unlessRefused, type Verified } from './verify.ts'

/**
 * What there is to say of a token (RFC 7662). Stricter than verify: the token must be one of ours that is good for
 * something, and its user there and active, as of a few seconds ago. Never throws on a bad token; KeyturnError
 * STORE_DOWN when it cannot know.
 */
export const makeIntrospect = (parts: Parts) => {
  const verify = makeVerify(parts)
  return async (token: string): Promise<{ readonly body: Introspection; readonly outcome: Outcome }> => {
    const verified = await unlessRefused(() => verify(token))
    const body = verified === undefined ? inactive : await describe(verified)
    const whose = verified === undefined ? {} : outcomeOf(verified.claims)
    return { body, outcome: { ...whose, verdict: body.active ? 'active' : 'inactive' } }
  }

  async function describe({ payload, claims }: Verified): Promise<Introspection> {
    if (!isUsable(claims)) return inactive
    if (claims.user_id === undefined) return claims.client_id === undefined ? inactive : describeToken(payload, claims)
    const user = await parts.recentUsers.findById(claims.user_id)
    return user?.isActive ? describeToken(payload, claims, user.username) : inactive
  }
}

/** Whether it is an access token, or a refresh token that Keyturn made and so would take. */
const isUsable = ({ token_type, gen }: Claims): boolean =>
  token_type === 'access' || (token_type === 'refresh' && gen !== undefined)

import { isOfType, type TokenType } from '../tokens/claims.ts'
import { describeToken, inactive, type Introspection } from '../tokens/introspection.ts'
import { makeFindBearer } from './caller.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import type { FindHolder } from './refresh.ts'
import { unlessRefused, type Verified, type Verify } from './verify.ts'

/**
 * The state of a token (RFC 7662). Stricter than verify: Keyturn must accept the token right now. An access or a sliding
 * token is active if a protected endpoint would accept it, by the user as of a few seconds ago; a refresh token if it would
 * be refreshed; a client's own token as verify decides. Never throws on an invalid token; throws KeyturnError STORE_DOWN and
 * RULE_FAILED when the state is unknown.
 */
export const makeIntrospect = (parts: Parts, { verify, findHolder }: { verify: Verify; findHolder: FindHolder }) => {
  const { rules, slidingTokens, recentUsers } = parts
  const findBearer = makeFindBearer(parts, recentUsers)
  const uses: readonly TokenType[] = slidingTokens ? ['access', 'refresh', 'sliding'] : ['access', 'refresh']

  return async (token: string): Promise<{ readonly body: Introspection; readonly outcome: Outcome }> => {
    const verified = await unlessRefused(() => verify(token))
    const body = verified === undefined ? inactive : await describe(verified)
    const { user_id, sid } = verified?.claims ?? {}
    return { body, outcome: { user_id, sid, verdict: body.active ? 'active' : 'inactive' } }
  }

  async function describe(verified: Verified): Promise<Introspection> {
    const { payload, claims } = verified
    const use = uses.find((type) => isOfType(claims, type, rules))
    if (use === undefined) return inactive
    if (claims.client_id !== undefined) return describeToken(payload, { claims, use })
    const user = await unlessRefused(() => (use === 'refresh' ? findUser(verified) : findBearer(claims)))
    return user === undefined ? inactive : describeToken(payload, { claims, use, username: user.username })
  }

  /** The user of a refresh token; undefined if Keyturn would not accept the token. */
  async function findUser({ claims, place }: Verified): Promise<{ readonly username: string } | undefined> {
    return place && (await findHolder({ ...place, claims }))
  }
}

import { isOfType, type TokenType } from '../tokens/claims.ts'
import { describeToken, inactive, type Introspection } from '../tokens/introspection.ts'
import { makeFindBearer } from './caller.ts'
import { makeLookUpHolder } from './holder.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'
import { makeVerify, unlessRefused, type Verified } from './verify.ts'

/**
 * What there is to say of a token (RFC 7662). Stricter than verify: it must be good for something here, right now. An access or
 * a sliding token is when it would let its user in at a protected door, by the user as of a few seconds ago, a refresh token
 * when it would be refreshed; a client's own is as verify has it. Never throws on a bad token; KeyturnError STORE_DOWN and
 * RULE_FAILED when it cannot know.
 */
export const makeIntrospect = (parts: Parts) => {
  const { rules, slidingTokens, recentUsers } = parts
  const verify = makeVerify(parts)
  const findBearer = makeFindBearer(parts, recentUsers)
  const lookUpHolder = makeLookUpHolder(parts)
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
    const user = use === 'refresh' ? await findHolder(verified) : await unlessRefused(() => findBearer(claims))
    return user === undefined ? inactive : describeToken(payload, { claims, use, username: user.username })
  }

  /** Of a refresh token; undefined too when it is none that Keyturn would take. */
  async function findHolder({ claims, place }: Verified): Promise<{ readonly username: string } | undefined> {
    const holder = place === undefined ? undefined : await lookUpHolder({ ...place, claims })
    return holder !== undefined && 'user' in holder ? holder.user : undefined
  }
}

import type { Client } from '../clients/client.ts'
import { KeyturnError } from '../errors.ts'
import type { SessionClient } from '../sessions/session.ts'
import { checkClaims } from '../tokens/claims.ts'
import { makeAdopt } from './adopt.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import type { Parts } from './parts.ts'
import { unlessRefused } from './verify.ts'

/**
 * Revokes a token for a client (RFC 7009): a refresh or a sliding token with its whole session, an access token alone. A token
 * that is no good needs no revoking, which is a verdict and no error (§2.2).
 *
 * §2.1 wants the token to be one that was issued to the client. Tokens of users are issued to no client: whoever has a
 * refresh token may end its session at /api/token/blacklist/, and whoever has an access token may do so at
 * /api/sessions/, so a client that holds one may do no more here than anybody. A client's own token is its own alone:
 * throws KeyturnError CLIENT_OTHER. Throws REVOCATION_UNSUPPORTED for a token that could outlive the memory of its
 * revocation, and STORE_DOWN.
 */
export const makeRevoke = ({ codec, refresh, sliding, rules, clock, revocationWindow, ...parts }: Parts) => {
  const { sessions } = parts
  const adopt = makeAdopt(parts)
  return async (client: Client, token: string, requester: SessionClient): Promise<Outcome> => {
    const presented =
      (await unlessRefused(() => refresh.read(token))) ?? (await unlessRefused(() => sliding.read(token)))
    if (presented !== undefined) {
      const { userId, sid } = presented
      // One of another issuer becomes a session, so that it can be over; unless that issuer has revoked it.
      await unlessRefused(() => adopt(presented, requester))
      return (await sessions.revoke(userId, sid)) ? { user_id: userId, sid } : { verdict: 'unknown' }
    }
    const claims = await unlessRefused(() => checkClaims(codec.read(token), clock(), rules))
    if (claims === undefined) return { verdict: 'unknown' }
    if (claims.client_id !== undefined && claims.client_id !== client.id) throw new KeyturnError('CLIENT_OTHER')
    const { jti = '', exp } = claims
    if (!/^[0-9a-f]{32}$/.test(jti) || exp > clock() + revocationWindow)
      throw new KeyturnError('REVOCATION_UNSUPPORTED')
    await sessions.revokeToken(jti)
    return outcomeOf(claims)
  }
}

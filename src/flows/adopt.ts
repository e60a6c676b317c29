import { KeyturnError } from '../errors.ts'
import type { SessionClient } from '../sessions/session.ts'
import type { RefreshPlace } from '../tokens/refresh.ts'
import type { Parts } from './parts.ts'

/**
 * Starts the session of a refresh token that another issuer signed; one of our own has it. Of any number of callers with the
 * same token one starts the session, and the chain goes on from there as from a login: the rotation deals with a retry, a
 * race or a thief. Throws KeyturnError TOKEN_REVOKED for a token on the issuer's own blacklist.
 */
export type Adopt = (place: RefreshPlace, client: SessionClient) => Promise<void>

export const makeAdopt =
  ({ sessions, foreignBlacklist }: Parts): Adopt =>
  async ({ foreign }, client) => {
    if (foreign === undefined) return
    if (await foreignBlacklist.has(foreign.jti)) throw new KeyturnError('TOKEN_REVOKED')
    await sessions.adopt(foreign, client)
  }

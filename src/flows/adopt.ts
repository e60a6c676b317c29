import { KeyturnError } from '../errors.ts'
import type { SessionClient } from '../sessions/session.ts'
import type { RefreshPlace } from '../tokens/refresh.ts'
import type { Parts } from './parts.ts'

/**
 * Gives a refresh token that another issuer signed the session it needs; one of our own has it. Of any number of
 * callers with the same token one starts the session, and the line goes on from there as from a login: a retry, a race
 * or a thief is dealt with by the rotation. Throws KeyturnError TOKEN_REVOKED for a token on the issuer's own
 * blacklist.
 */
export const makeAdopt =
  ({ sessions, foreignBlacklist }: Pick<Parts, 'sessions' | 'foreignBlacklist'>) =>
  async ({ foreign }: RefreshPlace, client: SessionClient): Promise<void> => {
    if (foreign === undefined) return
    if (await foreignBlacklist.has(foreign.jti)) throw new KeyturnError('TOKEN_REVOKED')
    await sessions.adopt(foreign, client)
  }

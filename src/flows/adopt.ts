import type { SessionDevice } from '../hooks.ts'
import { KeyturnError } from '../errors.ts'
import type { Session } from '../sessions/session.ts'
import type { Claims } from '../tokens/claims.ts'
import type { RefreshPlace } from '../tokens/adopted.ts'
import type { Parts } from './parts.ts'

/**
 * Starts the session of a token that another issuer signed; a token of our own already has one. Of any number of callers with
 * the same token, one starts the session. It then continues as after a login: the rotation handles retries, races and theft.
 * Throws KeyturnError TOKEN_REVOKED for a token on the issuer's own blacklist.
 */
export type Adopt = (place: RefreshPlace, device: SessionDevice, options?: AdoptOptions) => Promise<void>

export interface AdoptOptions {
  /** Whether the user's oldest sessions beyond MAX_SESSIONS_PER_USER end, as at a login; true by default. */
  readonly endsOthers?: boolean
}

export const makeAdopt =
  ({ sessions, foreignBlacklist }: Parts): Adopt =>
  async ({ foreign }, device, options) => {
    if (foreign === undefined) return
    if (await foreignBlacklist.has(foreign.jti)) throw new KeyturnError('TOKEN_REVOKED')
    await sessions.adopt(foreign, device, options)
  }

/**
 * Whether the other issuer has blacklisted its token. Applies to refresh and sliding tokens, at every endpoint. Throws
 * KeyturnError STORE_DOWN.
 */
export const makeIsBlacklisted =
  ({ foreignBlacklist }: Pick<Parts, 'foreignBlacklist'>) =>
  async ({ token_type, sid, jti }: Claims): Promise<boolean> => {
    const isListed = sid === undefined && (token_type === 'refresh' || token_type === 'sliding')
    return isListed && jti !== undefined && (await foreignBlacklist.has(jti))
  }

/** The session of a token, if it has one; `unstarted` when the token would be adopted. Throws KeyturnError STORE_DOWN. */
export const makeFindSession =
  ({ sessions }: Pick<Parts, 'sessions'>) =>
  async ({ userId, sid, foreign }: RefreshPlace): Promise<Session | 'unstarted' | undefined> => {
    const session = await sessions.find(userId, sid)
    if (session !== undefined || foreign === undefined) return session
    return (await sessions.isSpent(foreign)) ? undefined : 'unstarted'
  }

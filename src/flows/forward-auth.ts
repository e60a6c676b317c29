import { KeyturnError } from '../errors.ts'
import { type Caller, makeAuthenticate } from './caller.ts'
import type { Parts } from './parts.ts'

export interface Pass {
  readonly caller: Caller
  /** How long the token is good, in whole seconds. */
  readonly secondsLeft: number
}

/**
 * Whom a proxy may let through: whoever would be let in at Keyturn's own doors, by the user as of a few seconds ago. A
 * client is not a user and is not let through, as at every door of Keyturn's own. Throws as authenticate does, and
 * KeyturnError SCOPE_MISSING unless the token has every word of `required`.
 */
export const makeForwardAuth = (parts: Parts) => {
  const authenticate = makeAuthenticate(parts, parts.recentUsers)
  return async (token: string, required: readonly string[]): Promise<Pass> => {
    const caller = await authenticate(token)
    if (!required.every((scope) => caller.scopes.includes(scope))) throw new KeyturnError('SCOPE_MISSING')
    return { caller, secondsLeft: Math.floor(caller.expiresAt) - parts.clock() }
  }
}

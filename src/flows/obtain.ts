import { KeyturnError } from '../errors.ts'
import { longestPassword } from '../passwords/policy.ts'
import { newestGeneration, type SessionClient } from '../sessions/session.ts'
import { customClaims } from '../tokens/custom.ts'
import { longestUsername, normalizeUsername } from '../users/user.ts'
import type { Outcome } from './outcome.ts'
import type { Parts } from './parts.ts'

export interface Credentials {
  readonly username: string
  readonly password: string
}

/**
 * A username and a password for an access and a refresh token of a new session. As Simple JWT's TokenObtainPairView.
 * Throws KeyturnError LOGIN_FAILED, the same for a name unknown, a password wrong and a user inactive, after the same work;
 * FIELDS_INVALID for what is too long, BUSY when too many logins wait, CLAIMS_FAILED before a session starts.
 */
export const makeObtain =
  ({ users, hasher, sessions, access, refresh, claimsOf }: Parts) =>
  async (
    credentials: Credentials,
    client: SessionClient
  ): Promise<{ access: string; refresh: string; outcome: Outcome }> => {
    refuseOverlong(credentials)
    const user = await users.findByUsername(credentials.username)
    const matches = await hasher.verify(credentials.password, user?.passwordHash)
    if (user === undefined || !matches || !user.isActive) throw new KeyturnError('LOGIN_FAILED')
    const custom = await customClaims(claimsOf, user, { grant: 'login', sid: undefined })
    const { session } = await sessions.start(user.id, client)
    return {
      refresh: refresh.issue(user.id, session.sid, newestGeneration(session)),
      access: access.issue(user.id, session.sid, custom),
      outcome: { user_id: user.id, sid: session.sid }
    }
  }

function refuseOverlong({ username, password }: Credentials): void {
  const fields: Record<string, readonly string[]> = {}
  if ([...normalizeUsername(username)].length > longestUsername) {
    fields.username = [`Ensure this field has no more than ${longestUsername} characters.`]
  }
  if (Buffer.byteLength(password) > longestPassword) {
    fields.password = [`Ensure this field has no more than ${longestPassword} bytes.`]
  }
  if (Object.keys(fields).length > 0) throw new KeyturnError('FIELDS_INVALID', { fields })
}

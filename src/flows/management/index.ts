import type { ClaimNames } from '../../config/claim-names.ts'
import type { ActivityRecord } from '../../activity.ts'
import type { ClientStore } from '../../clients/store.ts'
import type { KeyringOptions } from '../../keys/keyring.ts'
import type { RotationPolicy } from '../../keys/rotation.ts'
import type { OneTimeTokenStore } from '../../one-time-tokens/store.ts'
import type { SessionStore } from '../../sessions/store.ts'
import type { Clock } from '../../time.ts'
import type { UserStore } from '../../users/store.ts'
import { getUser, type RecordAct, type ScopesByHook, type UsersForAct } from './act.ts'
import { makeManageClients } from './clients.ts'
import { makeManageKeys } from './keys.ts'
import { makeManageOneTimeTokens } from './one-time-tokens.ts'
import { makeOverview } from './overview.ts'
import { makeManageSessions } from './sessions.ts'
import { makeListUsers } from './user-list.ts'
import { makeCreateUser, UserManagement } from './users.ts'

export interface ManagementParts {
  readonly users: UserStore
  readonly sessions: SessionStore
  readonly clients: ClientStore
  readonly oneTimeTokens: OneTimeTokenStore
  readonly clock: Clock
  readonly keyring: KeyringOptions
  readonly isFixed: boolean
  readonly rotation: RotationPolicy
  readonly record: RecordAct
  readonly usersForAct: UsersForAct
  readonly claimNames: ClaimNames
  readonly scopesByHook: ScopesByHook | undefined
  readonly activity: Pick<ActivityRecord, 'read'>
}

/** Everything an operator or another service may do: the management endpoints; commands use the parts that they need. */
export const makeManagement = (parts: ManagementParts) => {
  const keys = makeManageKeys(parts)
  return {
    users: new UserManagement(parts),
    createUser: makeCreateUser(parts),
    listUsers: makeListUsers(parts.users),
    /** Throws KeyturnError NOT_FOUND. */
    getUser: (id: string) => getUser(parts, id),
    sessions: makeManageSessions(parts),
    oneTimeTokens: makeManageOneTimeTokens(parts),
    clients: makeManageClients(parts),
    keys,
    overview: makeOverview({ ...parts, keys })
  }
}

export type Management = ReturnType<typeof makeManagement>

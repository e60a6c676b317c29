import type { AuditEvent } from '../audit/event.ts'
import type { AuditTrail } from '../audit/trail.ts'
import type { ClientDirectory } from '../clients/directory.ts'
import type { OneTimeTokenStore } from '../one-time-tokens/store.ts'
import type { PasswordHasher } from '../passwords/hasher.ts'
import type { PasswordPolicy } from '../passwords/policy.ts'
import type { Revocations } from '../sessions/revocations.ts'
import type { SessionPolicy } from '../sessions/session.ts'
import type { SessionStore } from '../sessions/store.ts'
import type { Clock } from '../time.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { ClaimRules } from '../tokens/claims.ts'
import type { TokenCodec } from '../tokens/codec.ts'
import type { ForeignBlacklist, RefreshTokens } from '../tokens/refresh.ts'
import type { SlidingTokens } from '../tokens/sliding.ts'
import type { RecentUsers } from '../users/recent.ts'
import type { UserStore } from '../users/store.ts'
import type { ChargeReset, TryPassword } from './guessing.ts'
import type { Hooks } from './hooks.ts'

/** All dependencies of the use cases; each takes those that it uses. */
export interface Parts {
  readonly users: UserStore
  /** The same; a change is committed together with the entry of this event in the audit trail, or not at all. */
  readonly usersWith: (event: AuditEvent) => Pick<UserStore, 'replacePasswordHash'>
  /** The same, as they were a few seconds ago. */
  readonly recentUsers: RecentUsers
  readonly clients: Pick<ClientDirectory, 'find'>
  readonly sessions: SessionStore
  readonly oneTimeTokens: OneTimeTokenStore
  /** Refresh tokens of another issuer that it has revoked itself. */
  readonly foreignBlacklist: ForeignBlacklist
  /** This worker's replica of the revocation list. */
  readonly revocations: Revocations
  /** How long a revocation is kept, in whole seconds. */
  readonly revocationWindow: number
  readonly hasher: PasswordHasher
  /** Selects the decoy of a username: see Keys. */
  readonly decoySecret: Buffer
  /** Runs the check of a password as one guess. */
  readonly tryPassword: TryPassword
  /** Limits how often a password reset is requested for an account. */
  readonly chargeReset: ChargeReset
  /** For events after the response to their request, which cannot be recorded together with it. */
  readonly trail: Pick<AuditTrail, 'record'>
  /** Whether the entry of a failed request from this address is to be omitted from the trail, which is behind. */
  readonly shedsEntry: (result: string, ip: string) => boolean
  /** Reports that work after a response has failed. */
  readonly failed: (error: unknown) => void
  readonly codec: TokenCodec
  readonly access: AccessTokens
  readonly refresh: RefreshTokens
  readonly sliding: SlidingTokens
  /** Whether protected endpoints and logout accept sliding tokens: SLIDING_TOKENS. */
  readonly slidingTokens: boolean
  readonly hooks: Hooks
  readonly rules: ClaimRules
  /** Whether the user of an access token must be active: CHECK_USER_IS_ACTIVE. */
  readonly checkUserIsActive: boolean
  /** Whether the time of a login is stored with the user: UPDATE_LAST_LOGIN. */
  readonly updateLastLogin: boolean
  readonly clock: Clock
  /** Which passwords may be set. */
  readonly passwordPolicy: PasswordPolicy
  /** The policy of the sessions in `sessions`. */
  readonly sessionPolicy: SessionPolicy
}

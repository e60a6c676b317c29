import type { ActName, AuditEvent } from '../../audit/event.ts'
import type { AuditTrail } from '../../audit/trail.ts'
import { parseScope } from '../../clients/scope.ts'
import { KeyturnError } from '../../errors.ts'
import type { Clock } from '../../time.ts'
import type { UserStore } from '../../users/store.ts'
import type { User } from '../../users/user.ts'

/** What a client or a user may do at the management endpoints; `keyturn.admin` is all of it. */
export const managementScopes = [
  'keyturn.admin',
  'keyturn.users',
  'keyturn.users.read',
  'keyturn.sessions',
  'keyturn.audit',
  'keyturn.keys',
  'keyturn.clients'
] as const

export type ManagementScope = (typeof managementScopes)[number]

/** Who carries out a management act: a client, a user, or the operator at a command line. */
export interface Actor extends Pick<AuditEvent, 'ip' | 'requestId'> {
  /** For the audit trail. */
  readonly actor: string
  /** What the actor may do; undefined for the operator, who has the database anyway. */
  readonly scopes: readonly string[] | undefined
}

/** What an act concerns. */
export type ActObject = Pick<AuditEvent, 'userId' | 'sid' | 'object'>

/** Writes an act to the audit trail. Throws KeyturnError STORE_DOWN; the act must then not be acknowledged. */
export type RecordAct = (event: ActName, by: Actor, on?: ActObject) => Promise<void>

/** Every flow awaits it before it returns, so that an acknowledged act has its entry. */
export const makeRecordAct =
  (trail: Pick<AuditTrail, 'record'>, clock: Clock): RecordAct =>
  (event, { actor, ip, requestId }, on = {}) =>
    trail.record({ event, result: 'ok', at: clock(), actor, ip, requestId, ...on })

/** Whether an actor with these scopes may do what needs `scope`. */
export const isAllowed = (scopes: readonly string[], scope: ManagementScope): boolean =>
  scopes.includes('keyturn.admin') ||
  scopes.includes(scope) ||
  (scope === 'keyturn.users.read' && scopes.includes('keyturn.users'))

/**
 * Throws KeyturnError SCOPE_MISSING if `scopes` has a management scope that the actor lacks. It guards what gives, or gives
 * access to, such scopes: otherwise an actor that may set passwords could take over an administrator.
 */
export function demandAuthority({ scopes: own }: Actor, scopes: readonly string[]): void {
  if (own === undefined) return
  const excess = managementScopes.find((scope) => scopes.includes(scope) && !isAllowed(own, scope))
  if (excess !== undefined) throw new KeyturnError('SCOPE_MISSING', { detail: `the actor lacks ${excess}` })
}

/** The scopes in a user's stored claims. */
export const scopesOf = ({ claims: { scope } }: Pick<User, 'claims'>): readonly string[] =>
  typeof scope === 'string' ? (parseScope(scope) ?? []) : []

/** The user with this id. Throws KeyturnError NOT_FOUND, and SCOPE_MISSING for a user with more management scopes than the actor. */
export async function getUser(users: Pick<UserStore, 'findById'>, by: Actor, id: string): Promise<User> {
  const user = await users.findById(id)
  if (user === undefined) throw new KeyturnError('NOT_FOUND')
  demandAuthority(by, scopesOf(user))
  return user
}

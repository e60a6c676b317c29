import type { ActName, AuditEvent } from '../../audit/event.ts'
import type { AuditTrail } from '../../audit/trail.ts'
import { parseScope } from '../../clients/scope.ts'
import { KeyturnError } from '../../errors.ts'
import type { Clock } from '../../time.ts'
import type { UserStore } from '../../users/store.ts'
import type { User } from '../../users/user.ts'
import type { Hooks } from '../hooks.ts'

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
export interface ActObject extends Pick<AuditEvent, 'userId' | 'sid' | 'object'> {
  /** There was nothing to end: the actor may be repeating a call that was answered 503, without its entry. */
  readonly result?: 'ended'
}

/** Writes an act to the audit trail. Throws KeyturnError STORE_DOWN; the act must then not be acknowledged. */
export type RecordAct = (event: ActName, by: Actor, on?: ActObject) => Promise<void>

/** Every flow awaits it before it returns, so that an acknowledged act has its entry. */
export const makeRecordAct =
  (trail: Pick<AuditTrail, 'record'>, clock: Clock): RecordAct =>
  (event, by, on) =>
    trail.record(toEvent(event, by, on, clock()))

/**
 * The users, to be changed by an act. The change is committed together with the entry of the act: if the entry cannot be written,
 * nothing is changed. A created user need not be named.
 */
export type UsersForAct = (event: ActName, by: Actor, on?: ActObject) => UserStore

export const makeUsersForAct =
  (usersWith: (event: AuditEvent) => UserStore, clock: Clock): UsersForAct =>
  (event, by, on) =>
    usersWith(toEvent(event, by, on, clock()))

const toEvent = (event: ActName, { actor, ip, requestId }: Actor, on: ActObject = {}, at: number): AuditEvent => ({
  event,
  result: 'ok',
  at,
  actor,
  ip,
  requestId,
  ...on
})

/** Whether an actor with these scopes may do what requires `scope`. */
export const isAllowed = (scopes: readonly string[], scope: ManagementScope): boolean =>
  scopes.includes('keyturn.admin') ||
  scopes.includes(scope) ||
  (scope === 'keyturn.users.read' && scopes.includes('keyturn.users'))

/**
 * Throws KeyturnError SCOPE_MISSING if `scopes` has a management scope that the actor lacks. This guards all acts that grant
 * such scopes, or access to an account that has them: otherwise an actor that may set passwords could take over an
 * administrator's account.
 */
export function demandAuthority(by: ActorScopes, scopes: readonly string[]): void {
  refuseExcess(findExcess(by, scopes))
}

type ActorScopes = Pick<Actor, 'scopes'>

/** A management scope in `scopes` that the actor lacks; undefined if there is none. */
const findExcess = ({ scopes: own }: ActorScopes, scopes: readonly string[]): ManagementScope | undefined =>
  own && managementScopes.find((scope) => scopes.includes(scope) && !isAllowed(own, scope))

function refuseExcess(excess: ManagementScope | undefined): void {
  if (excess !== undefined) throw new KeyturnError('SCOPE_MISSING', { detail: `the actor lacks ${excess}` })
}

/** The scopes in a user's claims: those that are stored, or those of a token. */
export const scopesOf = ({ claims: { scope } }: Pick<User, 'claims'>): readonly string[] =>
  typeof scope === 'string' ? (parseScope(scope) ?? []) : []

/** Returns the scopes that a user's next token would have. Throws KeyturnError CLAIMS_FAILED. */
export type ScopesByHook = (user: User) => Promise<readonly string[]>

/** Undefined if no hook adds claims: the scopes are then those that are stored. */
export const makeScopesByHook = (hooks: Pick<Hooks, 'claims' | 'addClaims'>): ScopesByHook | undefined =>
  hooks.addClaims
    ? async (user) => scopesOf({ claims: await hooks.claims(user, { grant: 'login', sid: undefined }) })
    : undefined

/**
 * As demandAuthority, for the scopes of a user. A hook may add scopes to those that are stored, or derive them from the username
 * or from another claim. The hook is not called for an actor with all scopes, whom a hook that fails must not stop.
 */
export async function demandAuthorityOver(by: ActorScopes, user: User, scopesByHook?: ScopesByHook): Promise<void> {
  refuseExcess(await findExcessOver(by, user, scopesByHook))
}

/** Whether demandAuthorityOver would not throw SCOPE_MISSING. Throws KeyturnError CLAIMS_FAILED. */
export const hasAuthorityOver = async (by: ActorScopes, user: User, scopesByHook?: ScopesByHook): Promise<boolean> =>
  (await findExcessOver(by, user, scopesByHook)) === undefined

async function findExcessOver(
  by: ActorScopes,
  user: User,
  scopesByHook: ScopesByHook | undefined
): Promise<ManagementScope | undefined> {
  const hasAll = by.scopes === undefined || by.scopes.includes('keyturn.admin')
  if (hasAll || scopesByHook === undefined) return findExcess(by, scopesOf(user))
  return findExcess(by, scopesOf(user)) ?? findExcess(by, await scopesByHook(user))
}

/** What is needed to find a user, and the scopes of the user. */
export interface UserLookup {
  readonly users: Pick<UserStore, 'findById'>
  readonly scopesByHook?: ScopesByHook | undefined
}

/** The user with this id. Throws KeyturnError NOT_FOUND. */
export async function getUser({ users }: Pick<UserLookup, 'users'>, id: string): Promise<User> {
  const user = await users.findById(id)
  if (user === undefined) throw new KeyturnError('NOT_FOUND')
  return user
}

/**
 * The user with this id, for an act on the user. Throws KeyturnError NOT_FOUND, SCOPE_MISSING for a user with more management
 * scopes than the actor, and CLAIMS_FAILED.
 */
export async function getUserForAct(lookup: UserLookup, by: Actor, id: string): Promise<User> {
  const user = await getUser(lookup, id)
  await demandAuthorityOver(by, user, lookup.scopesByHook)
  return user
}

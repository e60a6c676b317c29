import { randomBytes, randomUUID } from 'node:crypto'
import type { ActName } from '../../audit/event.ts'
import type { ClaimNames } from '../../config/claim-names.ts'
import { type FieldMessage, type FieldMessages, KeyturnError } from '../../errors.ts'
import { digestKind } from '../../passwords/digest.ts'
import type { OneTimeTokenStore } from '../../one-time-tokens/store.ts'
import type { PasswordHasher } from '../../passwords/hasher.ts'
import { type PasswordPolicy, passwordFault } from '../../passwords/policy.ts'
import type { SessionStore } from '../../sessions/store.ts'
import { claimsFault } from '../../tokens/custom.ts'
import type { UserStore } from '../../users/store.ts'
import { normalizeUsername, type User, usernameFault } from '../../users/user.ts'
import {
  type Actor,
  demandAuthority,
  demandAuthorityOver,
  getUser,
  getUserForAct,
  type ScopesByHook,
  scopesOf,
  type UsersForAct
} from './act.ts'

export interface UserParts {
  readonly users: UserStore
  readonly sessions: Pick<SessionStore, 'revokeAll'>
  readonly oneTimeTokens: Pick<OneTimeTokenStore, 'deleteOf'>
  readonly usersForAct: UsersForAct
  readonly claimNames: ClaimNames
  readonly scopesByHook?: ScopesByHook | undefined
}

export interface PasswordParts {
  readonly hasher: Pick<PasswordHasher, 'hash'>
  /** Undefined: only passwords that no login could ever send are refused. */
  readonly passwordPolicy: PasswordPolicy | undefined
}

/** A new user, with a password, with the digest of one, or with neither: such a user can only be invited. */
export interface NewUser {
  readonly username: string
  readonly digest: string | undefined
  readonly isActive?: boolean
  readonly claims?: User['claims'] | undefined
}

/** The changes of a user by a management request; undefined members stay unchanged. */
export interface UserChanges {
  readonly username?: string | undefined
  readonly isActive?: boolean | undefined
  readonly claims?: User['claims'] | undefined
}

/**
 * Returns the digest of a password that an operator chose, if the password policy allows it. Throws KeyturnError FIELDS_INVALID
 * naming `password`, and BUSY when too many logins wait for a hash.
 */
export async function digestOf(
  password: string,
  username: string,
  { hasher, passwordPolicy }: PasswordParts
): Promise<string> {
  const fault = await passwordFault(password, username, passwordPolicy)
  if (fault !== undefined) throw invalid({ password: [fault] })
  return await hasher.hash(password)
}

/** A digest that no password matches, in Django's form: `!` and random text, so that two users never have the same. */
const unusableDigest = (): string => `!${randomBytes(30).toString('base64url')}`

/**
 * Adds users. Throws KeyturnError FIELDS_INVALID, SCOPE_MISSING for claims with more scopes than the actor has, NAME_TAKEN,
 * UNSUPPORTED_CHANGE where the users are Django's, and STORE_DOWN.
 */
export const makeCreateUser =
  ({
    users,
    usersForAct,
    claimNames,
    scopesByHook
  }: Pick<UserParts, 'users' | 'usersForAct' | 'claimNames' | 'scopesByHook'>) =>
  async (by: Actor, { username, digest, isActive = true, claims }: NewUser): Promise<User> => {
    const name = normalizeUsername(username)
    demandUsername(name)
    if (digest !== undefined) demandDigest(digest)
    if (claims !== undefined) demandClaims(by, claims, claimNames)
    await demandAuthorityOver(by, { ...userToBe(), username: name, isActive, claims: claims ?? {} }, scopesByHook)
    const initialDigest = (isActive ? digest : undefined) ?? unusableDigest()
    const created = await usersForAct('user_create', by).create(name, initialDigest)
    if (created === undefined) throw new KeyturnError('NAME_TAKEN')
    const { id } = created
    if (claims !== undefined) await users.setClaims(id, claims)
    // The password comes last: an inactive user never logs in.
    if (!isActive) await users.setActive(id, false)
    if (!isActive && digest !== undefined) await users.setPassword(id, digest)
    return { ...created, isActive, claims: claims ?? created.claims }
  }

/** What a hook is given for a user who does not exist yet: an id of the usual form that no user has. */
const userToBe = (): Omit<User, 'username' | 'isActive' | 'claims'> => ({
  id: randomUUID(),
  passwordHash: '',
  createdAt: 0,
  lastLoginAt: undefined
})

/**
 * Changes an existing user. Each method throws KeyturnError NOT_FOUND when the database has no such user (any more),
 * SCOPE_MISSING for a user with more management scopes than the actor, UNSUPPORTED_CHANGE where the table cannot take the
 * change, and STORE_DOWN. Those that end sessions return the ids of the sessions that ended.
 *
 * A change of the database is committed together with its entry, also if the sessions cannot be ended afterwards: the call then
 * fails, and can be repeated.
 */
export class UserManagement {
  readonly #parts: UserParts

  constructor(parts: UserParts) {
    this.#parts = parts
  }

  /** The user, if the actor has authority over it. */
  async get(by: Actor, id: string): Promise<User> {
    return await getUserForAct(this.#parts, by, id)
  }

  /** Sets the password and ends the user's sessions, since others may know the old one. */
  async setPassword(by: Actor, id: string, digest: string): Promise<readonly string[]> {
    await this.get(by, id)
    demandChanged(await this.#usersFor('user_password', by, id).setPassword(id, digest))
    return await this.#parts.sessions.revokeAll(id)
  }

  /** Throws KeyturnError FIELDS_INVALID for claims that a token cannot have. */
  async setClaims(by: Actor, id: string, claims: User['claims']): Promise<void> {
    await this.change(by, id, { claims })
  }

  async activate(by: Actor, id: string): Promise<void> {
    await this.change(by, id, { isActive: true })
  }

  /** The user can neither log in nor refresh, and is logged out everywhere. */
  async deactivate(by: Actor, id: string): Promise<readonly string[]> {
    await this.get(by, id)
    return await this.#deactivate(by, id)
  }

  /**
   * Several changes; each is an act with an entry of its own. All are checked before the first is made. Throws KeyturnError
   * FIELDS_INVALID and NAME_TAKEN.
   */
  async change(by: Actor, id: string, { username, isActive, claims }: UserChanges): Promise<User> {
    const name = username === undefined ? undefined : normalizeUsername(username)
    if (name !== undefined) demandUsername(name)
    if (claims !== undefined) demandClaims(by, claims, this.#parts.claimNames)
    await this.#demandAuthorityThroughout(by, id, name, claims)
    if (name !== undefined) await this.#rename(by, id, name)
    if (claims !== undefined) demandChanged(await this.#usersFor('user_claims', by, id).setClaims(id, claims))
    if (isActive === true) demandChanged(await this.#usersFor('user_activate', by, id).setActive(id, true))
    if (isActive === false) await this.#deactivate(by, id)
    return await getUser(this.#parts, id)
  }

  /**
   * Demands authority over the user as it is and after each change: if only the first one succeeded, the user would keep the new
   * name with the old claims. Hooks take time, so each state is checked once.
   */
  async #demandAuthorityThroughout(
    by: Actor,
    id: string,
    username: string | undefined,
    claims: User['claims'] | undefined
  ): Promise<void> {
    const user = await this.get(by, id)
    const renamed = username === undefined ? user : { ...user, username }
    if (renamed !== user) await demandAuthorityOver(by, renamed, this.#parts.scopesByHook)
    if (claims !== undefined) await demandAuthorityOver(by, { ...renamed, claims }, this.#parts.scopesByHook)
  }

  async #rename(by: Actor, id: string, username: string): Promise<void> {
    const outcome = await this.#usersFor('user_rename', by, id).rename(id, username)
    if (outcome === 'taken') throw new KeyturnError('NAME_TAKEN')
    demandChanged(outcome === 'renamed')
  }

  async #deactivate(by: Actor, id: string): Promise<readonly string[]> {
    demandChanged(await this.#usersFor('user_deactivate', by, id).setActive(id, false))
    return await this.#shutOut(id)
  }

  #usersFor(event: ActName, by: Actor, userId: string): UserStore {
    return this.#parts.usersForAct(event, by, { userId })
  }

  /** Deactivates the user first, which is an act with an entry of its own, so that a deletion that fails can be repeated. */
  async delete(by: Actor, id: string): Promise<readonly string[]> {
    const { isActive } = await this.get(by, id)
    await this.#parts.users.demandDelete()
    const ended = await (isActive ? this.#deactivate(by, id) : this.#shutOut(id))
    demandChanged(await this.#usersFor('user_delete', by, id).delete(id))
    // With CHECK_USER_IS_ACTIVE=false, a login may have started a session until the user was deleted.
    const late = await this.#parts.sessions.revokeAll(id)
    return [...ended, ...late]
  }

  /** What follows when a user becomes inactive. */
  async #shutOut(id: string): Promise<readonly string[]> {
    // Tokens of a user who was active are invalid from now on, but would be valid again after an activation.
    await this.#parts.oneTimeTokens.deleteOf(id)
    return await this.#parts.sessions.revokeAll(id)
  }
}

function demandUsername(username: string): void {
  const fault = usernameFault(username)
  if (fault !== undefined) throw invalid({ username: [fault as FieldMessage] })
}

/** A plaintext password must not be stored, where it would look like a digest that is not supported. */
function demandDigest(digest: string): void {
  if (digestKind(digest) === undefined)
    throw invalid({ password_digest: ['It must be a digest of Django or Keyturn.'] })
}

function demandClaims(by: Actor, claims: User['claims'], names: ClaimNames): void {
  const fault = claimsFault(claims, names)
  if (fault !== undefined)
    throw new KeyturnError('FIELDS_INVALID', { detail: fault, fields: { claims: [`It is refused: ${fault}.`] } })
  demandAuthority(by, scopesOf({ claims }))
}

function demandChanged(isChanged: boolean): void {
  if (!isChanged) throw new KeyturnError('NOT_FOUND')
}

const invalid = (fields: FieldMessages): KeyturnError => new KeyturnError('FIELDS_INVALID', { fields })

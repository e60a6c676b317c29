import { type ClaimNames, claimNames } from '../config/claim-names.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { type IssueOptions, makeManageOneTimeTokens } from '../flows/management/one-time-tokens.ts'
import { makeCreateUser, UserManagement } from '../flows/management/users.ts'
import { hasherSettings, makePasswordHasher } from '../passwords/hasher.ts'
import { passwordFault, passwordPolicy } from '../passwords/policy.ts'
import { openStores, openUsers, type Stores } from '../stores/open.ts'
import { showTime, systemClock } from '../time.ts'
import { claimsFault } from '../tokens/custom.ts'
import type { UserStore } from '../users/store.ts'
import { normalizeUsername, type User } from '../users/user.ts'
import { withDatabase } from './database.ts'
import { openRecordAct, openUsersForAct, operator } from './record.ts'
import { confirm, print, printOnce, Refusal, readInput, readSecret, refusing, say } from './terminal.ts'

export interface PasswordOptions {
  /** False with --no-policy. */
  readonly policy: boolean
}

/** `keyturn users create NAME`: prints the new user's id. */
export async function createUser(name: string, options: PasswordOptions): Promise<void> {
  const username = normalizeUsername(name)
  const config = loadConfig(process.env)
  const digest = await readDigest(config, username, options)
  const { id } = await withUsers(config, async (stores) => {
    const usersForAct = await openUsersForAct(config, stores)
    const create = makeCreateUser({ users: stores.users, usersForAct, claimNames: claimNames(config) })
    const taken = `The user ${JSON.stringify(username)} already exists. Use users set-password to change the password.`
    return await refusing({ NAME_TAKEN: taken }, () => create(operator, { username, digest }))
  })
  say(`Created the user ${JSON.stringify(username)}. Its id:`)
  print(id)
}

/** `keyturn users set-password NAME`: sets the password and ends the user's sessions, since others may know the old one. */
export async function setPassword(username: string, options: PasswordOptions): Promise<void> {
  const config = loadConfig(process.env)
  const digest = await readDigest(config, username, options)
  const ended = await manageUser(config, username, (manage, { id }) => manage.setPassword(operator, id, digest))
  say(`Set the password of ${JSON.stringify(username)}${andEnded(ended)}.`)
}

/** `keyturn users set-claims NAME`: the custom claims of the user's access tokens, a JSON object from standard input. */
export async function setClaims(username: string): Promise<void> {
  const config = loadConfig(process.env)
  const claims = parseClaims(await readInput(), claimNames(config))
  await manageUser(config, username, (manage, { id }) => manage.setClaims(operator, id, claims))
  say(`Set the claims of ${JSON.stringify(username)}; its access tokens have them from the next login or refresh on.`)
}

function parseClaims(json: string, names: ClaimNames): User['claims'] {
  let claims: User['claims']
  try {
    claims = JSON.parse(json)
  } catch {
    throw new Refusal('Standard input is not JSON; nothing was changed.')
  }
  const fault = claimsFault(claims, names)
  if (fault !== undefined) throw new Refusal(`Nothing was changed: ${fault}.`)
  return claims
}

/** `keyturn users activate NAME`. */
export async function activateUser(username: string): Promise<void> {
  await manageUser(loadConfig(process.env), username, (manage, { id }) => manage.activate(operator, id))
  say(`Activated ${JSON.stringify(username)}.`)
}

/** `keyturn users deactivate NAME`: the user can neither log in nor refresh, and is logged out everywhere. */
export async function deactivateUser(username: string): Promise<void> {
  const config = loadConfig(process.env)
  const ended = await manageUser(config, username, (manage, { id }) => manage.deactivate(operator, id))
  say(`Deactivated ${JSON.stringify(username)}${andEnded(ended)}.`)
}

/** `keyturn users delete NAME`: asks first, unless --yes. */
export async function deleteUser(username: string, { yes }: { readonly yes?: boolean }): Promise<void> {
  if (yes !== true) await confirm(`Delete the user ${JSON.stringify(username)}?`, '--yes')
  const config = loadConfig(process.env)
  const ended = await manageUser(config, username, (manage, { id }) => manage.delete(operator, id))
  say(`Deleted ${JSON.stringify(username)}${andEnded(ended)}.`)
}

export interface OneTimeTokenOptions extends IssueOptions {
  readonly json?: boolean
}

/** `keyturn users one-time-token NAME`: prints the token once. */
export async function issueOneTimeToken(username: string, { json, ...options }: OneTimeTokenOptions): Promise<void> {
  const config = loadConfig(process.env)
  const { token, expiresAt } = await withUser(config, username, async ({ database, users, oneTimeTokens }, user) => {
    const record = await openRecordAct(config, database)
    const manage = makeManageOneTimeTokens({ users, oneTimeTokens, record, clock: systemClock })
    return await manage.issue(operator, user.id, options)
  })
  const expires = showTime(expiresAt)
  const remedy = `the token of ${JSON.stringify(username)} is lost. Run the command again.`
  if (json === true) return printOnce(JSON.stringify({ token, expires_at: expires }), remedy)
  say(`A one-time token for ${JSON.stringify(username)}, valid until ${expires}:`)
  printOnce(token, remedy)
}

/** Finds the user and carries out an act of the management flows. Throws Refusal if the user does not exist (any more). */
const manageUser = <T>(
  config: Config,
  username: string,
  act: (manage: UserManagement, user: User) => Promise<T>
): Promise<T> =>
  withUser(config, username, async (stores, user) => {
    const usersForAct = await openUsersForAct(config, stores)
    const manage = new UserManagement({ ...stores, usersForAct, claimNames: claimNames(config) })
    const missing = `Nothing was changed: the database updated no row for ${JSON.stringify(username)}. Does the user still exist?`
    return await refusing({ NOT_FOUND: missing }, () => act(manage, user))
  })

const andEnded = (sids: readonly string[]): string =>
  sids.length === 0 ? '' : ` and ended ${sids.length === 1 ? 'one session' : `${sids.length} sessions`}`

/** `keyturn users list`: one line per user, read page by page. */
export async function listUsers({ json }: { readonly json?: boolean }): Promise<void> {
  const toLine = json === true ? toJsonLine : toTableLine
  await withUsers(loadConfig(process.env), async ({ users }) => {
    if (json !== true) print(tableLine('username', 'id', 'active', 'created'))
    for await (const page of userPages(users)) {
      for (const user of page) print(toLine(user))
    }
  })
}

/** All users by name, in pages, so that memory holds one page. */
export async function* userPages(users: UserStore): AsyncGenerator<readonly User[]> {
  const limit = 500
  let page = await users.list('', limit)
  while (page.length > 0) {
    yield page
    page = await users.list(page.at(-1)?.username ?? '', limit)
  }
}

const toJsonLine = ({ id, username, isActive, createdAt, lastLoginAt }: User): string =>
  JSON.stringify({
    id,
    username,
    is_active: isActive,
    created_at: showTime(createdAt),
    last_login_at: lastLoginAt === undefined ? null : showTime(lastLoginAt)
  })

const toTableLine = ({ id, username, isActive, createdAt }: User): string =>
  tableLine(username, id, isActive ? 'yes' : 'no', showTime(createdAt))

const tableLine = (username: string, id: string, active: string, created: string): string =>
  `${username.padEnd(24)}  ${id.padEnd(36)}  ${active.padEnd(6)}  ${created}`

/** Reads a password before any store is opened, so that no connection waits for a user who types. */
async function readDigest(config: Config, username: string, { policy }: PasswordOptions): Promise<string> {
  const password = await readSecret(`Password for ${username}`)
  const fault = await passwordFault(password, username, policy ? passwordPolicy(config) : undefined)
  if (fault !== undefined) throw new Refusal(fault)
  return await makePasswordHasher(hasherSettings(config)).hash(password)
}

/** Opens all stores for `work` on one user. Throws Refusal if the user does not exist. */
export async function withUser<T>(
  config: Config,
  username: string,
  work: (stores: Stores, user: User) => Promise<T>
): Promise<T> {
  const stores = await openStores(config, systemClock)
  try {
    const user = await stores.users.findByUsername(username)
    if (user === undefined) throw new Refusal(`The user ${JSON.stringify(username)} does not exist. See users list.`)
    return await work(stores, user)
  } finally {
    await stores.close()
  }
}

const withUsers = <T>(
  config: Config,
  work: (stores: Pick<Stores, 'database' | 'users' | 'usersWith'>) => Promise<T>
): Promise<T> =>
  withDatabase(config, async (database) => work({ database, ...(await openUsers(config, database, systemClock)) }))

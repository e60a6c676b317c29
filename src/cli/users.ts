import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/settings.ts'
import { makeArgon2Hasher } from '../passwords/argon2.ts'
import { passwordFault } from '../passwords/policy.ts'
import { openDatabase } from '../stores/open.ts'
import type { SqlDatabase } from '../stores/sql/connection.ts'
import { migrate, pendingMigrations } from '../stores/sql/migrate.ts'
import { makeUserStore } from '../stores/sql/users.ts'
import { systemClock } from '../time.ts'
import type { UserStore } from '../users/store.ts'
import type { User } from '../users/user.ts'
import { print, Refusal, readSecret, say } from './terminal.ts'

export interface PasswordOptions {
  /** False with --no-policy. */
  readonly policy: boolean
}

/** `keyturn users create NAME`: prints the new user's id. */
export async function createUser(username: string, options: PasswordOptions): Promise<void> {
  const config = loadConfig(process.env)
  const digest = await readDigest(config, username, options)
  const user = await withUsers(config, (users) => users.create(username, digest))
  if (user === undefined)
    throw new Refusal(`The user ${JSON.stringify(username)} exists already: users set-password sets a new password.`)
  say(`Created the user ${JSON.stringify(username)}. The id:`)
  print(user.id)
}

/** `keyturn users set-password NAME`. */
export async function setPassword(username: string, options: PasswordOptions): Promise<void> {
  const config = loadConfig(process.env)
  const digest = await readDigest(config, username, options)
  await changeUser(config, username, (users, user) => users.setPassword(user.id, digest))
  say(`Set the password of ${JSON.stringify(username)}.`)
}

/** `keyturn users activate NAME` and `deactivate NAME`: who is not active can neither log in nor refresh. */
export async function setActive(username: string, isActive: boolean): Promise<void> {
  await changeUser(loadConfig(process.env), username, (users, user) => users.setActive(user.id, isActive))
  say(`${isActive ? 'Activated' : 'Deactivated'} ${JSON.stringify(username)}.`)
}

/** `keyturn users list`: a line a user, in pages, so that it does not matter how many there are. */
export async function listUsers({ json }: { readonly json?: boolean }): Promise<void> {
  const toLine = json === true ? toJsonLine : toTableLine
  await withUsers(loadConfig(process.env), async (users) => {
    if (json !== true) print(tableLine('username', 'id', 'active', 'created', 'last login'))
    for await (const user of allUsers(users)) print(toLine(user))
  })
}

async function* allUsers(users: UserStore): AsyncGenerator<User> {
  const limit = 500
  let page = await users.list('', limit)
  while (page.length > 0) {
    yield* page
    page = await users.list(page.at(-1)?.username ?? '', limit)
  }
}

const toJsonLine = ({ id, username, isActive, createdAt, lastLoginAt }: User): string =>
  JSON.stringify({
    id,
    username,
    is_active: isActive,
    created_at: showTime(createdAt),
    last_login_at: showTime(lastLoginAt)
  })

const toTableLine = ({ id, username, isActive, createdAt, lastLoginAt }: User): string =>
  tableLine(username, id, isActive ? 'yes' : 'no', showTime(createdAt) ?? '', showTime(lastLoginAt) ?? 'never')

const tableLine = (username: string, id: string, active: string, created: string, lastLogin: string): string =>
  `${username.padEnd(24)}  ${id.padEnd(36)}  ${active.padEnd(6)}  ${created.padEnd(20)}  ${lastLogin}`

/** Seconds since 1970 as 2026-01-31T12:00:00Z; null for never. */
const showTime = (seconds: number | undefined): string | null =>
  seconds === undefined ? null : new Date(seconds * 1000).toISOString().replace('.000', '')

/** Reads a password before any store is opened, so that no connection waits for someone who types. */
async function readDigest(config: Config, username: string, { policy }: PasswordOptions): Promise<string> {
  const password = await readSecret(`Password for ${username}`)
  // Without the policy what could never log in is refused all the same.
  const fault = passwordFault(
    password,
    policy ? { minLength: config.passwordMinLength, username } : { minLength: 1, username: '' }
  )
  if (fault !== undefined) throw new Refusal(fault)
  const { argon2Memory: memory, argon2Time: time, argon2Parallelism: parallelism } = config
  return await makeArgon2Hasher({ memory, time, parallelism, queue: 1 }).hash(password)
}

/** Changes what a user may do. What such a change ends besides is ended here, for each of them. */
async function changeUser(
  config: Config,
  username: string,
  change: (users: UserStore, user: User) => Promise<void>
): Promise<void> {
  await withUsers(config, async (users) => {
    const user = await users.findByUsername(username)
    if (user === undefined)
      throw new Refusal(`There is no user ${JSON.stringify(username)}: users list shows all, users create makes one.`)
    await change(users, user)
  })
}

async function withUsers<T>(config: Config, work: (users: UserStore) => Promise<T>): Promise<T> {
  const database = await openDatabase(config)
  try {
    await bringUpToDate(database)
    return await work(makeUserStore(database, systemClock))
  } finally {
    await database.close()
  }
}

/** The embedded file has one owner and is brought up to date by whoever opens it; a shared database only by `migrate`. */
async function bringUpToDate(database: SqlDatabase): Promise<void> {
  if ((await pendingMigrations(database)) === 0) return
  if (database.dialect === 'postgres')
    throw new Refusal('The tables of this database are missing or older than this version. Run: keyturn migrate')
  await migrate(database)
}

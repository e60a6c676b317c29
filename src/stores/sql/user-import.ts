import { randomUUID } from 'node:crypto'
import type { Clock } from '../../time.ts'
import { type Holder, type Placing, placeUsers } from '../../users/placing.ts'
import type { UserImport } from '../../users/store.ts'
import type { SqlDatabase, SqlQueries, SqlValue } from './connection.ts'
import { groupSize, groups, places, rowPlaces } from './groups.ts'
import { addPendingLogouts } from './pending-logouts.ts'

type Query = SqlQueries['query']
type PlacedUser = Extract<Placing, { readonly user: unknown }>['user']

/**
 * Imports into the table keyturn_users; `clock` dates users whose dump has no time. Two concurrent imports take turns, batch by
 * batch.
 */
export const makeUserImport = (db: SqlDatabase, clock: Clock): UserImport => ({
  place: (users, { update }) =>
    db.exclusively(async ({ query }) => {
      const holders = await findHolders(query, users)
      const placings = placeUsers(users, holders, { update, newId: randomUUID })
      const { created, toLogOut } = await write(query, placings, clock)
      await addPendingLogouts(query, toLogOut)
      return placings.map((placing) => {
        if (placing.kind !== 'created' || created.has(placing.user.id)) return placing
        return { kind: 'refused', reason: 'another process has just taken the id or the username: import it again' }
      })
    })
})

/** Ids of users that were written. */
interface Written {
  readonly created: ReadonlySet<string>
  /** Of the updated ones, those who are inactive or have another digest. It may be of the same password, which cannot be known. */
  readonly toLogOut: readonly string[]
}

/** Writes in the order of the decisions, since a user may take a username that an earlier one gave up. */
async function write(query: Query, placings: readonly Placing[], clock: Clock): Promise<Written> {
  const created = new Set<string>()
  const toLogOut: string[] = []
  let creating: PlacedUser[] = []
  const create = async (): Promise<void> => {
    for (const id of await insertUsers(query, creating, clock)) created.add(id)
    creating = []
  }
  for (const placing of placings) {
    if (placing.kind === 'created') creating.push(placing.user)
    if (placing.kind !== 'updated') continue
    await create()
    const hasNewDigest = await replaceDigest(query, placing.user)
    if (hasNewDigest || placing.user.isActive === false) toLogOut.push(placing.user.id)
    await updateUser(query, placing.user)
  }
  await create()
  return { created, toLogOut }
}

type Named = { readonly id?: string | undefined; readonly username?: string }

/** All users with one of the ids or usernames of `users`, possibly with duplicates. */
export async function findHolders(query: Query, users: readonly Named[]): Promise<readonly Holder[]> {
  const found: Holder[] = []
  for (const column of ['id', 'username'] as const) {
    const select = `SELECT id, username FROM keyturn_users WHERE ${column} IN (${places(groupSize)})`
    const values = users.flatMap((user) => user[column] ?? [])
    for (const group of groups(values)) found.push(...(await query<Holder>(select, group)))
  }
  return found
}

const columns = ['id', 'username', 'password_hash', 'is_active', 'created_at', 'last_login_at', 'claims']

const insertStatement = `INSERT INTO keyturn_users (${columns.join(', ')}) VALUES
  ${rowPlaces(columns.length)}
  ON CONFLICT DO NOTHING RETURNING id`

/** The ids of the users that this inserted. */
async function insertUsers(query: Query, users: readonly PlacedUser[], clock: Clock): Promise<readonly string[]> {
  const inserted: string[] = []
  for (const group of groups(users)) {
    const values = group.flatMap((user) =>
      valuesOf({ ...user, isActive: user.isActive ?? true, createdAt: user.createdAt ?? clock() })
    )
    inserted.push(...(await query<{ id: string }>(insertStatement, values)).map(({ id }) => id))
  }
  return inserted
}

/** Whether the digest changed. Compared in the statement that writes, since a login may rehash at the same time. */
const replaceDigest = async (query: Query, { id, passwordHash }: PlacedUser): Promise<boolean> => {
  const update = 'UPDATE keyturn_users SET password_hash = $2 WHERE id = $1 AND password_hash <> $2 RETURNING id'
  return (await query(update, [id, passwordHash])).length > 0
}

/** Values that the dump lacks are kept. */
const updateUser = (query: Query, user: PlacedUser): Promise<unknown> =>
  query(
    `UPDATE keyturn_users SET username = $2, password_hash = $3, is_active = COALESCE($4, is_active),
       created_at = COALESCE($5, created_at), last_login_at = COALESCE($6, last_login_at), claims = COALESCE($7, claims)
     WHERE id = $1`,
    valuesOf(user)
  )

/** In the order of `columns`; null for values that the dump lacks. */
const valuesOf = ({ id, username, passwordHash, isActive, createdAt, lastLoginAt, claims }: PlacedUser): SqlValue[] => [
  id,
  username,
  passwordHash,
  isActive === undefined ? null : Number(isActive),
  createdAt ?? null,
  lastLoginAt ?? null,
  claims === undefined ? null : JSON.stringify(claims)
]

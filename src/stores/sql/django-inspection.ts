import { maxUsernameLength } from '../../users/user.ts'
import type { SqlQueries } from './connection.ts'
import { type DjangoTable, hasTable } from './django-table.ts'

/** The contents of Django's table of users that matter to logins. */
export interface UsersInspection {
  readonly users: number
  readonly inactive: number
  /** Usernames that cannot be used at a login, which trims and bounds its fields. */
  readonly unreachable: number
  /**
   * The number of digests of each format, which is the part before the first $, or `!` for an unusable one. Each with an example.
   */
  readonly digests: readonly { readonly form: string; readonly count: number; readonly example: string }[]
}

/** Reads the whole table once. Throws KeyturnError STORE_DOWN. */
export async function inspectUsers(db: SqlQueries, { name, column, has }: DjangoTable): Promise<UsersInspection> {
  const [facts] = await db.query<Omit<UsersInspection, 'digests'>>(
    `SELECT count(*) AS users, count(*) FILTER (WHERE ${has('is_active') ? `NOT ${column('is_active')}` : 'false'}) AS inactive,
       count(*) FILTER (WHERE ${column('username')} ~ '^\\s|\\s$' OR char_length(${column('username')}) > $1) AS unreachable
     FROM ${name}`,
    [maxUsernameLength]
  )
  const password = column('password')
  const digests = await db.query<UsersInspection['digests'][number]>(
    `SELECT CASE WHEN ${password} LIKE '!%' THEN '!' ELSE split_part(${password}, '$', 1) END AS form,
       count(*) AS count, min(${password}) AS example FROM ${name} GROUP BY 1 ORDER BY count DESC, example`
  )
  return { users: 0, inactive: 0, unreachable: 0, ...facts, digests }
}

/**
 * The number of unexpired refresh tokens of Simple JWT, and the newest one; undefined without its blacklist app.
 */
export async function inspectOutstanding(
  db: SqlQueries
): Promise<{ readonly count: number; readonly newest: string | undefined } | undefined> {
  if (!(await hasTable(db, 'token_blacklist_outstandingtoken'))) return undefined
  const alive = `FROM token_blacklist_outstandingtoken o LEFT JOIN token_blacklist_blacklistedtoken b ON b.token_id = o.id
    WHERE o.expires_at > now() AND b.id IS NULL`
  const [total] = await db.query<{ count: number }>(`SELECT count(*) AS count ${alive}`)
  const [newest] = await db.query<{ token: string }>(`SELECT o.token ${alive} ORDER BY o.id DESC LIMIT 1`)
  return { count: total?.count ?? 0, newest: newest?.token }
}

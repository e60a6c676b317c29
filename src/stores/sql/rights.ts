import type { SqlDatabase } from './connection.ts'
import type { DjangoTable, UserColumn } from './django-table.ts'
import { readSearchPath } from './schemas.ts'

type Right = 'SELECT' | 'INSERT' | 'UPDATE' | 'DELETE'

/** The privileges on Keyturn's own tables for the service and the commands, except `migrate`. */
export const ownRights: Readonly<Record<string, readonly Right[]>> = {
  keyturn_users: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_keys: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_clients: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_audit: ['SELECT', 'INSERT'],
  keyturn_one_time_tokens: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_pending_logouts: ['SELECT', 'INSERT', 'DELETE'],
  keyturn_migrations: ['SELECT']
}

/** Simple JWT's tables, read if they exist. */
const blacklist = ['token_blacklist_blacklistedtoken', 'token_blacklist_outstandingtoken']

/** The privileges on Django's table of users, by column, since they may be granted by column. */
const djangoRights: readonly (readonly [Right, readonly UserColumn[]])[] = [
  ['SELECT', ['id', 'username', 'password', 'is_active', 'date_joined', 'last_login']],
  ['UPDATE', ['password', 'is_active', 'last_login']]
]

interface Wanted {
  /** The name in a statement. */
  readonly table: string
  readonly right: Right
  /** Undefined for the whole table. */
  readonly column: string | undefined
}

/** Why nothing can be written to this database, as a sentence; undefined if it can. Throws KeyturnError STORE_DOWN. */
export async function readOnlyReason(db: SqlDatabase): Promise<string | undefined> {
  const [state] = await db.query<{ standby: boolean; setting: string; user: string }>(
    `SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS setting,
       quote_ident(current_user) AS user`
  )
  if (state?.standby === true) return 'It is a standby, which is read-only. DATABASE_URL has to name the primary.'
  if (state?.setting !== 'on') return undefined
  return `It is read-only for this user: default_transaction_read_only is on, for the role, the database or the server. For the role, run: ALTER ROLE ${state.user} SET default_transaction_read_only = off`
}

/**
 * The privileges that the user of DATABASE_URL lacks, each as the statement that grants it; `django` is USERS_TABLE. Missing
 * tables are skipped. A table with row level security but without a policy for the user seems empty, so a missing policy is
 * reported too. Without USAGE on any schema, only that is reported, since no table can be found; `missingSchema` reports that
 * no schema exists. Throws KeyturnError STORE_DOWN.
 */
export async function missingRights(db: SqlDatabase, django: DjangoTable | undefined): Promise<readonly string[]> {
  const { user, schemas, isUsable } = await readSearchPath(db)
  const unusable = schemas.findLast(({ exists }) => exists)
  if (!isUsable && unusable !== undefined) return [`GRANT USAGE ON SCHEMA ${unusable.name} TO ${user}`]
  const wanted = [...ownWanted(), ...(django === undefined ? [] : djangoWanted(django))]
  const missing: string[] = []
  for (const { table, right, column } of wanted) {
    const [row] = await db.query<{ has: boolean | null }>(
      `SELECT CASE WHEN to_regclass($1) IS NULL THEN NULL
         WHEN $3::text IS NULL THEN has_table_privilege(to_regclass($1), $2)
         ELSE has_column_privilege(to_regclass($1), $3, $2) END AS has`,
      [table, right, column ?? null]
    )
    const columns = column === undefined ? '' : ` ("${column}")`
    if (row?.has === false) missing.push(`GRANT ${right}${columns} ON ${table} TO ${user}`)
  }
  for (const table of new Set(wanted.map((each) => each.table)))
    if (await isHidden(db, table)) missing.push(`CREATE POLICY keyturn ON ${table} TO ${user} USING (true)`)
  return missing
}

/** Whether row level security hides all rows of `table` from this user. Superusers and owners are exempt from it. */
async function isHidden(db: SqlDatabase, table: string): Promise<boolean> {
  const [row] = await db.query<{ hidden: boolean | null }>(
    `SELECT row_security_active(to_regclass($1)::oid) AND NOT EXISTS (
       SELECT 1 FROM pg_policy WHERE polrelid = to_regclass($1) AND polpermissive AND polcmd IN ('r', '*')
         AND EXISTS (SELECT 1 FROM unnest(polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE'))) AS hidden`,
    [table]
  )
  return row?.hidden === true
}

const ownWanted = (): readonly Wanted[] => [
  ...Object.entries(ownRights).flatMap(([table, rights]) =>
    rights.map((right) => ({ table, right, column: undefined }))
  ),
  ...blacklist.map((table) => ({ table, right: 'SELECT' as const, column: undefined }))
]

const djangoWanted = ({ name, has, column }: DjangoTable): readonly Wanted[] =>
  djangoRights.flatMap(([right, columns]) =>
    columns.filter(has).map((each) => ({ table: name, right, column: column(each).slice(1, -1).replaceAll('""', '"') }))
  )

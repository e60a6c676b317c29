import type { SqlDatabase } from './connection.ts'
import type { DjangoTable, UserColumn } from './django-table.ts'

type Right = 'SELECT' | 'INSERT' | 'UPDATE' | 'DELETE'

/** The privileges on Keyturn's own tables for the service and the commands, except `migrate`. */
export const ownRights: Readonly<Record<string, readonly Right[]>> = {
  keyturn_users: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_keys: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_clients: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  keyturn_audit: ['SELECT', 'INSERT'],
  keyturn_one_time_tokens: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
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

/**
 * The privileges that the user of DATABASE_URL lacks, each as the statement that grants it; `django` is USERS_TABLE. Missing
 * tables are skipped. Throws KeyturnError STORE_DOWN.
 */
export async function missingRights(db: SqlDatabase, django: DjangoTable | undefined): Promise<readonly string[]> {
  const wanted = [...ownWanted(), ...(django === undefined ? [] : djangoWanted(django))]
  const missing: string[] = []
  for (const { table, right, column } of wanted) {
    const [row] = await db.query<{ user: string; has: boolean | null }>(
      `SELECT quote_ident(current_user) AS user, CASE WHEN to_regclass($1) IS NULL THEN NULL
         WHEN $3::text IS NULL THEN has_table_privilege(to_regclass($1), $2)
         ELSE has_column_privilege(to_regclass($1), $3, $2) END AS has`,
      [table, right, column ?? null]
    )
    const columns = column === undefined ? '' : ` ("${column}")`
    if (row?.has === false) missing.push(`GRANT ${right}${columns} ON ${table} TO ${row.user}`)
  }
  return missing
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

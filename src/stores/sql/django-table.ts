import { StoreError } from '../error.ts'
import type { SqlQueries } from './connection.ts'

/** The columns that Keyturn uses, by Django's names. */
const djangoColumns = {
  id: 'id',
  username: 'username',
  password: 'password',
  is_active: 'is_active',
  date_joined: 'date_joined',
  last_login: 'last_login'
} as const

export type UserColumn = keyof typeof djangoColumns

/** A custom model may lack these: then all users are active, and the times are unknown. */
const dispensable: readonly UserColumn[] = ['is_active', 'date_joined', 'last_login']

/** Django's table of users. */
export interface DjangoTable {
  /** The quoted name, for a statement. */
  readonly name: string
  has(column: UserColumn): boolean
  /** The quoted name of the column. */
  column(column: UserColumn): string
  /** The PostgreSQL type of the column; undefined if it is missing. */
  type(column: UserColumn): string | undefined
}

/**
 * Reads the definition of the table. `table` may begin with its schema; `renamed` are the columns with other names, from
 * USERS_COLUMNS. Throws StoreError if the table does not exist, is in a schema without USAGE,
 * or lacks a required column.
 */
export async function readDjangoTable(
  db: SqlQueries,
  table: string,
  renamed: Readonly<Partial<Record<UserColumn, string>>>
): Promise<DjangoTable> {
  const name = table.split('.').map(quote).join('.')
  const rows = await db.query<{ column: string; type: string }>(
    `SELECT attname AS column, format_type(atttypid, NULL) AS type FROM pg_attribute
     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`,
    [name]
  )
  if (rows.length === 0) throw new StoreError(`USERS_TABLE: ${await whyMissing(db, table)}.`)
  const types = new Map(rows.map(({ column, type }) => [column, type]))
  const names: Readonly<Record<UserColumn, string>> = { ...djangoColumns, ...renamed }
  const lost = (Object.keys(names) as UserColumn[]).filter((column) => {
    // A column that is configured must exist.
    const mayLack = dispensable.includes(column) && renamed[column] === undefined
    return !mayLack && !types.has(names[column])
  })
  if (lost.length > 0) {
    const list = lost.map((column) => `${names[column]} for ${column}`).join(', ')
    throw new StoreError(
      `USERS_TABLE: ${table} has no column ${list}. USERS_COLUMNS can set other names: id=uuid,username=email`
    )
  }
  return {
    name,
    has: (column) => types.has(names[column]),
    column: (column) => quote(names[column]),
    type: (column) => types.get(names[column])
  }
}

/** PostgreSQL does not find a table in a schema that its user may not use. */
async function whyMissing(db: SqlQueries, table: string): Promise<string> {
  const [hidden] = await db.query<{ schema: string; user: string }>(
    `SELECT quote_ident(nspname) AS schema, quote_ident(current_user) AS user
     FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE relname = $1 AND NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
       AND nspname IN (SELECT trim(path, ' "') FROM unnest(string_to_array(current_setting('search_path'), ',')) AS path)`,
    [table]
  )
  if (hidden === undefined) return `the table ${table} does not exist in this database`
  return `a privilege on the schema of ${table} is missing. Run: GRANT USAGE ON SCHEMA ${hidden.schema} TO ${hidden.user}`
}

/** Whether the table exists. Throws KeyturnError STORE_DOWN. */
export async function hasTable(db: SqlQueries, name: string): Promise<boolean> {
  const [found] = await db.query('SELECT to_regclass($1)::text AS name', [name])
  return found?.name !== null
}

const quote = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`

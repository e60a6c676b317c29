import { StoreError } from '../error.ts'
import type { SqlQueries } from './connection.ts'

/** What Keyturn knows of Django's user model, and how Django calls it. */
const djangoColumns = {
  id: 'id',
  username: 'username',
  password: 'password',
  is_active: 'is_active',
  date_joined: 'date_joined',
  last_login: 'last_login'
} as const

export type UserColumn = keyof typeof djangoColumns

/** A model of one's own may lack these: then everybody is active, and nobody knows since when. */
const dispensable: readonly UserColumn[] = ['is_active', 'date_joined', 'last_login']

/** Where Django keeps its users. */
export interface DjangoTable {
  /** Quoted, for a statement. */
  readonly name: string
  has(column: UserColumn): boolean
  /** The column's name there, quoted. */
  column(column: UserColumn): string
  /** Its type in PostgreSQL's words; undefined when it is not there. */
  type(column: UserColumn): string | undefined
}

/**
 * Reads how the table is made. `table` may begin with its schema; `renamed` are the columns that have other names
 * there, as USERS_COLUMNS says. Throws StoreError when there is no such table, or it lacks a column that no user can be
 * without.
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
  if (rows.length === 0) throw new StoreError(`USERS_TABLE: there is no table ${table} in this database.`)
  const types = new Map(rows.map(({ column, type }) => [column, type]))
  const names: Readonly<Record<UserColumn, string>> = { ...djangoColumns, ...renamed }
  const lost = (Object.keys(names) as UserColumn[]).filter((column) => {
    // Whoever names a column means it.
    const mayLack = dispensable.includes(column) && renamed[column] === undefined
    return !mayLack && !types.has(names[column])
  })
  if (lost.length > 0) {
    const list = lost.map((column) => `${names[column]} for ${column}`).join(', ')
    throw new StoreError(
      `USERS_TABLE: ${table} has no column ${list}. USERS_COLUMNS tells other names: id=uuid,username=email`
    )
  }
  return {
    name,
    has: (column) => types.has(names[column]),
    column: (column) => quote(names[column]),
    type: (column) => types.get(names[column])
  }
}

/** Whether PostgreSQL has such a table. Throws KeyturnError STORE_DOWN. */
export async function hasTable(db: SqlQueries, name: string): Promise<boolean> {
  const [found] = await db.query('SELECT to_regclass($1)::text AS name', [name])
  return found?.name !== null
}

const quote = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`

import type { SqlQueries } from './connection.ts'

/** Where PostgreSQL looks for tables that are named without a schema. */
export interface SearchPath {
  /** The quoted name of the user of DATABASE_URL. */
  readonly user: string
  /** The setting search_path, as it was written. */
  readonly setting: string
  /** The schemas in it, by their quoted names. The user's own schema is one only if it exists. */
  readonly schemas: readonly { readonly name: string; readonly exists: boolean }[]
  /** Whether the user may use one of them. */
  readonly isUsable: boolean
}

/** Reads search_path. Throws KeyturnError STORE_DOWN. */
export async function readSearchPath(db: SqlQueries): Promise<SearchPath> {
  const [state] = await db.query<{ user: string; setting: string; usable: boolean }>(
    `SELECT quote_ident(current_user) AS user, current_setting('search_path') AS setting,
       current_schema() IS NOT NULL AS usable`
  )
  const { user = '', setting = '', usable = false } = state ?? {}
  const schemas = await db.query<{ name: string; exists: boolean }>(
    `SELECT quote_ident(schema) AS name, oid IS NOT NULL AS exists
     FROM (SELECT listed, place, CASE listed WHEN '$user' THEN current_user ELSE listed END AS schema
           FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY AS names (listed, place)) AS path
     LEFT JOIN pg_namespace ON nspname = schema
     WHERE listed <> '$user' OR oid IS NOT NULL ORDER BY place`,
    [JSON.stringify(parseNames(setting))]
  )
  return { user, setting, schemas, isUsable: usable }
}

/** The names in a list of identifiers: without their quotes, or in lower case. An empty search_path is an empty name in quotes. */
const parseNames = (list: string): readonly string[] =>
  [...list.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)]
    .map(([name, quoted]) => quoted?.replaceAll('""', '"') ?? name.toLowerCase())
    .filter((name) => name !== '')

/**
 * Why there is no schema for tables, and what to do, as sentences; undefined if there is one, even if the user may not use it.
 * Throws KeyturnError STORE_DOWN.
 */
export async function missingSchema(db: SqlQueries): Promise<string | undefined> {
  const { user, setting, schemas, isUsable } = await readSearchPath(db)
  if (isUsable || schemas.some(({ exists }) => exists)) return undefined
  const last = schemas.at(-1)
  if (last === undefined) return `search_path names none (it is ${setting || 'empty'}). Set it ${whereSet}`
  const names = schemas.map(({ name }) => name).join(', ')
  const missing = schemas.length === 1 ? `The schema ${names} does not exist` : `None of the schemas ${names} exists`
  return `${missing}. Correct search_path (${whereSet}), or run: CREATE SCHEMA ${last.name} AUTHORIZATION ${user}`
}

const whereSet = 'in DATABASE_URL, or with ALTER ROLE or ALTER DATABASE'

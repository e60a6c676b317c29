export type SqlValue = string | number | null

/** A row by its column names. Whole numbers arrive as numbers in both engines. */
export type SqlRow = Readonly<Record<string, SqlValue>>

export interface SqlQueries {
  /** Runs one statement with $1, $2 … as its values, and gives its rows (RETURNING counts). */
  query<Row = SqlRow>(sql: string, values?: readonly SqlValue[]): Promise<readonly Row[]>
}

/** Rows of one table, each known by the value of one column. */
export interface KeyedRows {
  readonly table: string
  /** What is wanted of a row. */
  readonly columns: string
  readonly key: string
  /** Of the key, in PostgreSQL's words. It must be able to take every value that is looked up. */
  readonly type: string
}

/** A database that speaks the SQL PostgreSQL and SQLite share. Failures to reach it are KeyturnError STORE_DOWN. */
export interface SqlDatabase extends SqlQueries {
  readonly dialect: 'postgres' | 'sqlite'
  /** Gives a row by its key, if there is one. What is looked up in one turn of the event loop is asked at once where that is cheaper. */
  finder<Row>(rows: KeyedRows): (key: string) => Promise<Row | undefined>
  /** Runs `work` in a transaction that no other process runs at the same time: all of it is kept, or nothing. */
  exclusively<T>(work: (queries: SqlQueries & { script(sql: string): Promise<void> }) => Promise<T>): Promise<T>
  close(): Promise<void>
}

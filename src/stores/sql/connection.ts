export type SqlValue = string | number | null

/** A row by its column names. Both engines return integers as numbers. */
export type SqlRow = Readonly<Record<string, SqlValue>>

/** A statement and its values $1, $2 … */
export interface Statement {
  readonly sql: string
  readonly values?: readonly SqlValue[] | undefined
}

/** Yields statements, and is given the rows of each. It is synchronous, since statements of SQLite are. */
export type Steps = Generator<Statement, void, readonly SqlRow[]>

export interface SqlQueries {
  /** Runs one statement with the values $1, $2 …, and returns its rows, including those of RETURNING. */
  query<Row = SqlRow>(sql: string, values?: readonly SqlValue[]): Promise<readonly Row[]>
}

/** Rows of one table, each identified by the value of one column. */
export interface KeyedRows {
  readonly table: string
  /** The columns to return. */
  readonly columns: string
  readonly key: string
  /** The PostgreSQL type of the key. It must accept every value that is looked up. */
  readonly type: string
}

/** A database with the common SQL of PostgreSQL and SQLite. Throws KeyturnError STORE_DOWN if it is unreachable. */
export interface SqlDatabase extends SqlQueries {
  readonly dialect: 'postgres' | 'sqlite'
  /**
   * Like query, for a change whose outcome is reported to a caller: one that was refused with STORE_DOWN does not take effect
   * later, when a lock that it waited for is released. It may only have taken effect if the server fails during the commit
   * itself. `then` is given its rows; the statements that it yields run in the same transaction.
   */
  change<Row = SqlRow>(
    sql: string,
    values?: readonly SqlValue[],
    then?: (rows: readonly SqlRow[]) => Steps
  ): Promise<readonly Row[]>
  /** Finds a row by its key. Lookups in one turn of the event loop are combined if that is cheaper. */
  finder<Row>(rows: KeyedRows): (key: string) => Promise<Row | undefined>
  /** Runs `work` in a transaction that excludes other processes; commits all of it or nothing. */
  exclusively<T>(work: (queries: SqlQueries & { script(sql: string): Promise<void> }) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** Summarizes a statement for a span: its verb and the first table it names. */
export function summarize(sql: string): string {
  const [, verb = 'SQL'] = /^\s*(\w+)/.exec(sql) ?? []
  const [, table = ''] = /\b(?:FROM|INTO|UPDATE)\s+([\w."]+)/i.exec(sql) ?? []
  return `${verb.toUpperCase()} ${table}`.trimEnd()
}

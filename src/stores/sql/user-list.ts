import type { UserStore } from '../../users/store.ts'
import type { User } from '../../users/user.ts'
import type { SqlDatabase } from './connection.ts'

/** Where the users are: the statement that selects all of them, and the column with their names. */
interface UserRows {
  readonly select: string
  readonly username: string
}

/** Lists the users of a table; `toUser` reads a row. */
export const makeUserList =
  <Row>(db: SqlDatabase, { select, username }: UserRows, toUser: (row: Row) => User): UserStore['list'] =>
  async (afterUsername, limit) => {
    // PostgreSQL's text holds no NUL and answers with an error: no user has such a name.
    if (afterUsername.includes('\0')) return []
    const sql = `${select} WHERE ${username} > $1 ORDER BY ${username} LIMIT $2`
    return (await db.query<Row>(sql, [afterUsername, limit])).map(toUser)
  }

import { randomUUID } from 'node:crypto'
import { KeyturnError } from '../../errors.ts'
import type { Clock } from '../../time.ts'
import type { UserStore } from '../../users/store.ts'
import { normalizeUsername, type User } from '../../users/user.ts'
import type { SqlDatabase, SqlValue } from './connection.ts'
import { makeUserList } from './user-list.ts'

interface UserRow {
  readonly id: string
  readonly username: string
  readonly password_hash: string
  readonly is_active: number
  readonly created_at: number
  readonly last_login_at: number | null
  readonly claims: string | null
}

/**
 * Users in the table keyturn_users. The column `key`, USER_ID_FIELD, is the only id that other modules see.
 */
export function makeUserStore(db: SqlDatabase, clock: Clock, key: 'id' | 'username' = 'id'): UserStore {
  const columns = `${key} AS id, username, password_hash, is_active, created_at, last_login_at, claims`
  const findByName = makeFinder(db, columns, 'username')
  const set = async (id: string, column: string, value: SqlValue): Promise<boolean> => {
    const sql = `UPDATE keyturn_users SET ${column} = $2 WHERE ${key} = $1 RETURNING id`
    return (await db.change(sql, [id, value])).length > 0
  }
  return {
    findByUsername: (username) => findByName(normalizeUsername(username)),
    findById: makeFinder(db, columns, key),
    async create(username, passwordHash) {
      const [row] = await db.change<UserRow>(
        `INSERT INTO keyturn_users (id, username, password_hash, is_active, created_at) VALUES ($1, $2, $3, 1, $4)
         ON CONFLICT (username) DO NOTHING RETURNING ${columns}`,
        [randomUUID(), normalizeUsername(username), passwordHash, clock()]
      )
      return row && toUser(row)
    },
    setPassword: (id, passwordHash) => set(id, 'password_hash', passwordHash),
    async replacePasswordHash(id, verified, passwordHash) {
      const rows = await db.change(
        `UPDATE keyturn_users SET password_hash = $3 WHERE ${key} = $1 AND password_hash = $2 RETURNING id`,
        [id, verified, passwordHash]
      )
      return rows.length > 0
    },
    async drawPasswordHashes(lot) {
      // Fifteen digits sort among UUIDs and also among numeric ids, as imported from Django.
      const from = lot.toFixed(15).slice(2)
      const next = async (where: '>=' | '<', limit: number): Promise<readonly string[]> => {
        const sql = `SELECT password_hash FROM keyturn_users WHERE id ${where} $1 ORDER BY id LIMIT $2`
        return (await db.query<UserRow>(sql, [from, limit])).map((row) => row.password_hash)
      }
      const few = 8
      const drawn = await next('>=', few)
      return drawn.length === few ? drawn : [...drawn, ...(await next('<', few - drawn.length))]
    },
    setActive: (id, isActive) => set(id, 'is_active', isActive ? 1 : 0),
    async recordLogin(id) {
      await db.query(`UPDATE keyturn_users SET last_login_at = $2 WHERE ${key} = $1`, [id, clock()])
    },
    setClaims: (id, claims) => set(id, 'claims', JSON.stringify(claims)),
    async delete(id) {
      return (await db.change(`DELETE FROM keyturn_users WHERE ${key} = $1 RETURNING id`, [id])).length > 0
    },
    async demandDelete() {},
    rename: key === 'username' ? async () => refuseRename() : makeRename(db, findByName),
    list: makeUserList(db, { select: `SELECT ${columns} FROM keyturn_users`, username: 'username' }, toUser)
  }
}

/** Another process has just taken the name. */
function noRowsIfTaken(error: Error & { readonly code?: string }): readonly [] {
  if (error.code === '23505' || /UNIQUE constraint failed/.test(error.message)) return []
  throw error
}

/** Tokens would still contain the old name. */
function refuseRename(): never {
  throw new KeyturnError('UNSUPPORTED_CHANGE', {
    detail: 'USER_ID_FIELD is username: tokens and sessions contain the username, so a user cannot be renamed.'
  })
}

function makeRename(db: SqlDatabase, findByName: (name: string) => Promise<User | undefined>): UserStore['rename'] {
  return async (id, username) => {
    const name = normalizeUsername(username)
    const sql = `UPDATE keyturn_users SET username = $2
      WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM keyturn_users WHERE username = $2 AND id <> $1) RETURNING id`
    const rows = await db.change(sql, [id, name]).catch(noRowsIfTaken)
    if (rows.length > 0) return 'renamed'
    return (await findByName(name)) === undefined ? 'missing' : 'taken'
  }
}

function makeFinder(db: SqlDatabase, columns: string, key: 'id' | 'username') {
  const find = db.finder<UserRow>({ table: 'keyturn_users', columns, key, type: 'text' })
  return async (value: string): Promise<User | undefined> => {
    // PostgreSQL's text holds no NUL and answers with an error: no user has such a name.
    if (value.includes('\0')) return undefined
    const row = await find(value)
    return row && toUser(row)
  }
}

const toUser = (row: UserRow): User => ({
  id: row.id,
  username: row.username,
  passwordHash: row.password_hash,
  isActive: row.is_active === 1,
  createdAt: row.created_at,
  lastLoginAt: row.last_login_at ?? undefined,
  claims: row.claims === null ? {} : JSON.parse(row.claims)
})

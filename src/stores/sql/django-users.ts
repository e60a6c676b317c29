import { KeyturnError } from '../../errors.ts'
import type { UserStore } from '../../users/store.ts'
import { normalizeUsername, type User } from '../../users/user.ts'
import type { SqlDatabase, SqlValue } from './connection.ts'
import type { DjangoTable, UserColumn } from './django-table.ts'
import { makeUserList } from './user-list.ts'

interface UserRow {
  readonly id: string
  readonly username: string
  readonly password_hash: string
  readonly is_active: boolean
  readonly created_at: number | null
  readonly last_login_at: number | null
}

/**
 * Users in Django's table. They are read each time, so changes there take effect at the next lookup. Keyturn only writes
 * passwords in a format that Django reads, the activation, and the last login. `key` is the column whose value tokens contain.
 * Source: django.contrib.auth, AbstractBaseUser and AbstractUser.
 */
export function makeDjangoUsers(db: SqlDatabase, table: DjangoTable, key: 'id' | 'username' = 'id'): UserStore {
  const { name, column, has } = table
  const seconds = (each: UserColumn): string => (has(each) ? `EXTRACT(EPOCH FROM ${column(each)})::bigint` : 'NULL')
  const columns = `${column(key)}::text AS id, ${column('username')}::text AS username,
    ${column('password')} AS password_hash, ${has('is_active') ? column('is_active') : 'true'} AS is_active,
    ${seconds('date_joined')} AS created_at, ${seconds('last_login')} AS last_login_at`
  const users = `SELECT ${columns} FROM ${name}`
  const type = table.type(key) ?? 'text'
  const parseKey = makeKeyParser(type)
  const lots = lotsOf(table)

  const update = async (id: string, which: UserColumn, value: SqlValue): Promise<boolean> => {
    const parsed = parseKey(id)
    if (parsed === undefined) return false
    const sql = `UPDATE ${name} SET ${column(which)} = $2 WHERE ${column(key)} = $1 RETURNING 1`
    return (await db.change(sql, [parsed, value])).length > 0
  }
  return {
    ...makeFinders(db, { table, key, type, columns, users }),
    ...refused,
    setPassword: (id, passwordHash) => update(id, 'password', inDjangosForm(passwordHash)),
    async recordLogin(id) {
      const parsed = parseKey(id)
      if (parsed === undefined || !has('last_login')) return
      await db.query(`UPDATE ${name} SET ${column('last_login')} = now() WHERE ${column(key)} = $1`, [parsed])
    },
    async replacePasswordHash(id, verified, passwordHash) {
      const password = column('password')
      const rows = await db.change(
        `UPDATE ${name} SET ${password} = $3 WHERE ${column(key)} = $1 AND ${password} = $2 RETURNING 1`,
        [parseKey(id) ?? null, verified, inDjangosForm(passwordHash)]
      )
      return rows.length > 0
    },
    async drawPasswordHashes(lot) {
      const next = async (where: '>=' | '<', limit: number): Promise<readonly string[]> => {
        const sql = `SELECT ${column('password')} AS password_hash FROM ${name}
          WHERE ${lots.key} ${where} ${lots.place} ORDER BY ${lots.key} LIMIT $2`
        return (await db.query<UserRow>(sql, [lot, limit])).map((row) => row.password_hash)
      }
      const drawn = await next('>=', few)
      return drawn.length === few ? drawn : [...drawn, ...(await next('<', few - drawn.length))]
    },
    setActive: (id, isActive) =>
      has('is_active') ? update(id, 'is_active', String(isActive)) : refuse('their table has no column is_active'),
    list: makeUserList(db, { select: users, username: column('username') }, toUser)
  }
}

async function refuse(advice: string): Promise<never> {
  throw new KeyturnError('UNSUPPORTED_CHANGE', {
    detail: `USERS_TABLE: the users of this database are Django's; ${advice}.`
  })
}

/** What Django's table cannot take, or Keyturn must not do to it. */
const refused: Pick<UserStore, 'create' | 'delete' | 'demandDelete' | 'rename' | 'setClaims'> = {
  create: () => refuse('create them with Django'),
  delete: () => refuse('delete them with Django'),
  demandDelete: () => refuse('delete them with Django'),
  rename: () => refuse('rename them with Django'),
  setClaims: () => refuse('their table has no column for claims; use HOOKS_MODULE to add claims')
}

interface FinderOptions {
  readonly table: DjangoTable
  readonly key: 'id' | 'username'
  /** The type of the column `key`. */
  readonly type: string
  /** What is selected, and the statement that selects it from the table. */
  readonly columns: string
  readonly users: string
}

function makeFinders(
  db: SqlDatabase,
  { table: { name, column }, key, type, columns, users }: FinderOptions
): Pick<UserStore, 'findByUsername' | 'findById'> {
  const parseKey = makeKeyParser(type)
  const find = db.finder<UserRow>({ table: name, columns, key: column(key), type })
  const findByShape = async (value: string): Promise<User | undefined> => {
    const parsed = parseKey(value)
    const row = parsed === undefined ? undefined : await find(parsed)
    return row && toUser(row)
  }
  const findByText = async (value: string): Promise<User | undefined> => {
    if (value.includes('\0')) return undefined
    const rows = await db.query<UserRow>(`${users} WHERE ${column(key)} = $1`, [value]).catch(noRowsIfMalformed)
    return rows[0] && toUser(rows[0])
  }
  return {
    // A username is stored as sent or in NFKC, depending on how the user was created. The one as sent takes precedence.
    async findByUsername(username) {
      if (username.includes('\0')) return undefined
      const sql = `${users} WHERE ${column('username')} IN ($1, $2) ORDER BY ${column('username')} = $1 DESC LIMIT 1`
      const [row] = await db.query<UserRow>(sql, [username, normalizeUsername(username)])
      return row && toUser(row)
    },
    // Without a known form PostgreSQL may refuse a value, which would fail all lookups combined with it.
    findById: hasShape(type) ? findByShape : findByText
  }
}

/** The number of users from whom a decoy is taken. */
const few = 8

/** How to order ids and find the one for a lot, $1: between the first and the last id, or anywhere. */
function lotsOf({ name, column, type }: DjangoTable): { readonly key: string; readonly place: string } {
  const key = column('id')
  const idType = type('id') ?? ''
  if (integerBits[idType] !== undefined) {
    // As numeric, since the difference of the first and the last id may overflow their type.
    const place = `min(${key}) + floor($1::float8::numeric * (max(${key})::numeric - min(${key})))`
    return { key, place: `(SELECT (${place})::${idType} FROM ${name})` }
  }
  if (idType === 'uuid') {
    const digits = "lpad(to_hex(floor($1::float8 * 4294967296)::bigint), 8, '0')"
    return { key, place: `(${digits} || '-0000-0000-0000-000000000000')::uuid` }
  }
  const isText = ['text', 'character varying', 'citext'].includes(idType)
  return { key: isText ? key : `${key}::text`, place: 'substr($1::text, 3)' }
}

const integerBits: Readonly<Record<string, bigint>> = { smallint: 15n, integer: 31n, bigint: 63n }
const uuidShape = /^[\da-f]{8}(-?[\da-f]{4}){3}-?[\da-f]{12}$/i

const hasShape = (type: string): boolean => type === 'uuid' || integerBits[type] !== undefined

/** Parses an id from a token for a column of this type; undefined for values that PostgreSQL would refuse, which no user has. */
function makeKeyParser(type: string): (id: string) => string | undefined {
  if (type === 'uuid') return (id) => (uuidShape.test(id) ? id : undefined)
  const bits = integerBits[type]
  if (bits === undefined) return (id) => id
  const limit = 2n ** bits
  return (id) => {
    if (!/^-?\d{1,19}$/.test(id)) return undefined
    const value = BigInt(id)
    return value >= -limit && value < limit ? id : undefined
  }
}

/** SQLSTATE class 22: the text is not a value of the column's type, so no row has it. */
function noRowsIfMalformed(error: { readonly code?: string }): readonly UserRow[] {
  if (/^22...$/.test(error.code ?? '')) return []
  throw error
}

/** Django prefixes argon2's digests with the name of its hasher. */
const inDjangosForm = (digest: string): string => (digest.startsWith('$argon2') ? `argon2${digest}` : digest)

const toUser = (row: UserRow): User => ({
  id: row.id,
  username: row.username,
  passwordHash: row.password_hash,
  isActive: row.is_active,
  createdAt: row.created_at ?? 0,
  lastLoginAt: row.last_login_at ?? undefined,
  claims: {}
})

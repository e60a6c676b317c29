import type { Client } from '../../clients/client.ts'
import type { ClientStore } from '../../clients/store.ts'
import type { Clock } from '../../time.ts'
import type { SqlQueries } from './connection.ts'

interface ClientRow {
  readonly id: string
  readonly secret_hash: string
  readonly previous_hash: string | null
  readonly previous_until: number | null
  /** Scopes, separated by spaces. */
  readonly scopes: string
  readonly created_at: number
  readonly rotated_at: number
}

const columns = 'id, secret_hash, previous_hash, previous_until, scopes, created_at, rotated_at'

/** Clients in the table keyturn_clients. */
export const makeClientStore = (db: SqlQueries, clock: Clock): ClientStore => ({
  async list() {
    const rows = await db.query<ClientRow>(`SELECT ${columns} FROM keyturn_clients ORDER BY id`)
    return rows.map(toClient)
  },
  async create(id, secretHash, scopes) {
    const [row] = await db.query<ClientRow>(
      `INSERT INTO keyturn_clients (id, secret_hash, scopes, created_at, rotated_at) VALUES ($1, $2, $3, $4, $4)
       ON CONFLICT (id) DO NOTHING RETURNING ${columns}`,
      [id, secretHash, scopes.join(' '), clock()]
    )
    return row && toClient(row)
  },
  async rotateSecret(id, secretHash, overlap) {
    const rows = await db.query(
      `UPDATE keyturn_clients SET previous_hash = secret_hash, previous_until = $4, secret_hash = $2, rotated_at = $3
       WHERE id = $1 RETURNING id`,
      [id, secretHash, clock(), clock() + overlap]
    )
    return rows.length > 0
  },
  async delete(id) {
    return (await db.query('DELETE FROM keyturn_clients WHERE id = $1 RETURNING id', [id])).length > 0
  }
})

const toClient = (row: ClientRow): Client => ({
  id: row.id,
  secretHash: row.secret_hash,
  previous: row.previous_hash === null ? undefined : { secretHash: row.previous_hash, until: row.previous_until ?? 0 },
  scopes: row.scopes === '' ? [] : row.scopes.split(' '),
  createdAt: row.created_at,
  rotatedAt: row.rotated_at
})

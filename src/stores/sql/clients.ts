import type { Client } from '../../clients/client.ts'
import type { ClientStore } from '../../clients/store.ts'
import type { Clock } from '../../time.ts'
import type { SqlDatabase } from './connection.ts'

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

/**
 * How long the row of a deleted client is kept, in whole seconds: longer than any access token is valid
 * (ACCESS_TOKEN_LIFETIME).
 */
const tombstoneLifetime = 2 * 86_400

/**
 * Clients in the table keyturn_clients. The row of a deleted client stays without a secret; its created_at is the latest `iat`
 * of the client's tokens. A client that is created with the same id later is not older than that, so those tokens do not count
 * as its own.
 */
export const makeClientStore = (db: SqlDatabase, clock: Clock): ClientStore => ({
  async list() {
    const rows = await db.query<ClientRow>(`SELECT ${columns} FROM keyturn_clients WHERE secret_hash <> '' ORDER BY id`)
    return rows.map(toClient)
  },
  async create(id, secretHash, scopes) {
    const [row] = await db.change<ClientRow>(
      `INSERT INTO keyturn_clients (id, secret_hash, scopes, created_at, rotated_at) VALUES ($1, $2, $3, $4, $4)
       ON CONFLICT (id) DO UPDATE SET secret_hash = excluded.secret_hash, scopes = excluded.scopes, rotated_at = excluded.rotated_at,
         created_at = CASE WHEN excluded.created_at < keyturn_clients.created_at
           THEN keyturn_clients.created_at ELSE excluded.created_at END
         WHERE keyturn_clients.secret_hash = ''
       RETURNING ${columns}`,
      [id, secretHash, scopes.join(' '), clock()]
    )
    return row && toClient(row)
  },
  async rotateSecret(id, secretHash, overlap) {
    const rows = await db.change(
      `UPDATE keyturn_clients SET previous_hash = secret_hash, previous_until = $4, secret_hash = $2, rotated_at = $3
       WHERE id = $1 AND secret_hash <> '' RETURNING id`,
      [id, secretHash, clock(), clock() + overlap]
    )
    return rows.length > 0
  },
  async delete(id) {
    const now = clock()
    await db.change(`DELETE FROM keyturn_clients WHERE secret_hash = '' AND created_at < $1`, [now - tombstoneLifetime])
    // Its tokens begin in the second after its creation (firstIssuedAt), which may be the next one.
    const rows = await db.change(
      `UPDATE keyturn_clients SET secret_hash = '', previous_hash = NULL, previous_until = NULL, scopes = '',
         created_at = CASE WHEN created_at < $2 THEN $2 ELSE created_at + 1 END
       WHERE id = $1 AND secret_hash <> '' RETURNING id`,
      [id, now]
    )
    return rows.length > 0
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

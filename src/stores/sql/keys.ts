import type { KeyStore, StoredKey } from '../../keys/store.ts'
import type { SqlQueries } from './connection.ts'

interface KeyRow extends Omit<StoredKey, 'createdAt'> {
  readonly created_at: number
}

/** Managed keys in the table keyturn_keys. What is private in them was sealed before it comes here. */
export function makeKeyStore(db: SqlQueries): KeyStore {
  return {
    async list() {
      const rows = await db.query<KeyRow>(
        'SELECT kid, purpose, algorithm, state, sealed, created_at FROM keyturn_keys ORDER BY created_at, kid'
      )
      return rows.map(({ created_at, ...key }) => ({ ...key, createdAt: created_at }))
    },
    async addFirst({ kid, purpose, algorithm, state, sealed, createdAt }) {
      // The partial index on active keys refuses the second one; a conflict waits for the winner's commit.
      await db.query(
        `INSERT INTO keyturn_keys (kid, purpose, algorithm, state, sealed, created_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING`,
        [kid, purpose, algorithm, state, sealed, createdAt]
      )
    }
  }
}

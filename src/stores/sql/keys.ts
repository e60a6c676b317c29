import type { KeyStore, StoredKey } from '../../keys/store.ts'
import type { SqlDatabase, SqlQueries } from './connection.ts'

interface KeyRow extends Pick<StoredKey, 'kid' | 'purpose' | 'algorithm' | 'state' | 'sealed'> {
  readonly created_at: number
  readonly activated_at: number | null
  readonly retired_at: number | null
}

/** Managed keys in the table keyturn_keys. Private keys arrive encrypted. */
export const makeKeyStore = (db: SqlDatabase): KeyStore => ({
  list: () => listKeys(db),
  async addFirst({ kid, purpose, algorithm, state, sealed, createdAt, activatedAt }) {
    // The partial indexes allow one active and one next key; a conflict waits for the commit of the winner.
    const added = await db.change(
      `INSERT INTO keyturn_keys (kid, purpose, algorithm, state, sealed, created_at, activated_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING kid`,
      [kid, purpose, algorithm, state, sealed, createdAt, activatedAt ?? null]
    )
    return added.length > 0
  },
  async activate(kid, now, sealFor) {
    return await db.exclusively(async (queries) => {
      const keys = await listKeys(queries)
      const next = keys.find((key) => key.kid === kid && key.state === 'next')
      if (next === undefined) return false
      const former = keys.find((key) => key.purpose === next.purpose && key.state === 'active')
      if (former !== undefined) {
        await queries.query(
          "UPDATE keyturn_keys SET state = 'retired', retired_at = $2, sealed = $3 WHERE kid = $1 AND state = 'active'",
          [former.kid, now, sealFor(former, 'retired')]
        )
      }
      await queries.query("UPDATE keyturn_keys SET state = 'active', activated_at = $2, sealed = $3 WHERE kid = $1", [
        kid,
        now,
        sealFor(next, 'active')
      ])
      return true
    })
  },
  async drop(kid) {
    // Never the active key: a worker may just have activated it.
    const dropped = await db.change("DELETE FROM keyturn_keys WHERE kid = $1 AND state <> 'active' RETURNING kid", [
      kid
    ])
    return dropped.length > 0
  },
  async reseal({ kid, sealed }, replacement) {
    await db.change('UPDATE keyturn_keys SET sealed = $3 WHERE kid = $1 AND sealed = $2', [kid, sealed, replacement])
  }
})

async function listKeys(queries: SqlQueries): Promise<readonly StoredKey[]> {
  const rows = await queries.query<KeyRow>(
    `SELECT kid, purpose, algorithm, state, sealed, created_at, activated_at, retired_at FROM keyturn_keys
     ORDER BY created_at, activated_at IS NULL, kid`
  )
  return rows.map(({ created_at, activated_at, retired_at, ...key }) => ({
    ...key,
    createdAt: created_at,
    activatedAt: activated_at ?? undefined,
    retiredAt: retired_at ?? undefined
  }))
}

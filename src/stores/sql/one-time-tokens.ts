import { maxExpiredPerPut, type OneTimeTokenStore } from '../../one-time-tokens/store.ts'
import type { OneTimePurpose, OneTimeToken } from '../../one-time-tokens/token.ts'
import type { Clock } from '../../time.ts'
import type { SqlDatabase } from './connection.ts'

interface OneTimeRow {
  readonly user_id: string
  readonly purpose: OneTimePurpose
  readonly hash: string
  readonly user_state: string
  readonly issuer_scopes: string | null
  readonly expires_at: number
}

const columns = 'user_id, purpose, hash, user_state, issuer_scopes, expires_at'

/** One-time tokens in the table keyturn_one_time_tokens. */
export const makeOneTimeTokenStore = (db: SqlDatabase, clock: Clock): OneTimeTokenStore => ({
  async put({ userId, purpose, hash, userState, issuerScopes, expiresAt }) {
    await db.change(
      `INSERT INTO keyturn_one_time_tokens (${columns}) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (user_id, purpose)
       DO UPDATE SET hash = excluded.hash, user_state = excluded.user_state, issuer_scopes = excluded.issuer_scopes,
         expires_at = excluded.expires_at`,
      [userId, purpose, hash, userState, issuerScopes?.join(' ') ?? null, expiresAt]
    )
    await db.query(
      `DELETE FROM keyturn_one_time_tokens WHERE expires_at <= $1 AND hash IN
         (SELECT hash FROM keyturn_one_time_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`,
      [clock(), maxExpiredPerPut]
    )
  },
  async find(hash) {
    const [row] = await db.query<OneTimeRow>(
      `SELECT ${columns} FROM keyturn_one_time_tokens WHERE hash = $1 AND expires_at > $2`,
      [hash, clock()]
    )
    return row && toToken(row)
  },
  async take(hash, purpose) {
    // One statement: of concurrent ones the database lets one delete the row, and the others find none.
    const [row] = await db.change<OneTimeRow>(
      `DELETE FROM keyturn_one_time_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3 RETURNING ${columns}`,
      [hash, purpose, clock()]
    )
    return row && toToken(row)
  },
  async deleteOf(userId) {
    await db.change('DELETE FROM keyturn_one_time_tokens WHERE user_id = $1', [userId])
  }
})

const toToken = (row: OneTimeRow): OneTimeToken => ({
  userId: row.user_id,
  purpose: row.purpose,
  hash: row.hash,
  userState: row.user_state,
  issuerScopes: row.issuer_scopes?.split(' '),
  expiresAt: row.expires_at
})

import type { ForeignBlacklist } from '../../tokens/refresh.ts'
import type { SqlDatabase } from './connection.ts'
import { hasTable } from './django-table.ts'

/**
 * Simple JWT's blacklist app, if its tables are in our database; otherwise no token is blacklisted. Throws
 * KeyturnError STORE_DOWN. Source: rest_framework_simplejwt/token_blacklist/models.py (OutstandingToken,
 * BlacklistedToken).
 */
export async function openForeignBlacklist(db: SqlDatabase): Promise<ForeignBlacklist> {
  const isThere = db.dialect === 'postgres' && (await hasTable(db, 'token_blacklist_blacklistedtoken'))
  if (!isThere) return { has: async () => false }
  return {
    async has(jti) {
      const rows = await db.query(
        `SELECT 1 FROM token_blacklist_blacklistedtoken b JOIN token_blacklist_outstandingtoken o ON o.id = b.token_id
         WHERE o.jti = $1`,
        [jti]
      )
      return rows.length > 0
    }
  }
}

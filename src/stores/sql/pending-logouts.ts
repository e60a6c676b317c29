import { randomUUID } from 'node:crypto'
import type { PendingLogouts } from '../../users/pending-logouts.ts'
import type { SqlDatabase, SqlQueries } from './connection.ts'
import { groupSize, groups, places, rowPlaces } from './groups.ts'

export const makePendingLogouts = (db: SqlDatabase): PendingLogouts => ({
  async list() {
    const rows = await db.query<{ id: string; user_id: string; username: string | null }>(
      `SELECT pending.id, user_id, username FROM keyturn_pending_logouts AS pending
         LEFT JOIN keyturn_users ON keyturn_users.id = user_id ORDER BY pending.id LIMIT $1`,
      [groupSize]
    )
    return rows.map(({ id, user_id, username }) => ({
      id,
      user: username === null ? undefined : { id: user_id, username }
    }))
  },
  async remove(ids) {
    const statement = `DELETE FROM keyturn_pending_logouts WHERE id IN (${places(groupSize)})`
    for (const group of groups(ids)) await db.query(statement, group)
  }
})

/** Adds users, in the transaction of `query`. Each addition has an id of its own, which no other import removes. */
export async function addPendingLogouts(query: SqlQueries['query'], userIds: readonly string[]): Promise<void> {
  const statement = `INSERT INTO keyturn_pending_logouts (id, user_id) VALUES ${rowPlaces(2)} ON CONFLICT DO NOTHING`
  for (const group of groups(userIds.map((userId) => [randomUUID(), userId]))) await query(statement, group.flat())
}

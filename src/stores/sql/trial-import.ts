import { randomUUID } from 'node:crypto'
import { placeUsers } from '../../users/placing.ts'
import type { UserImport } from '../../users/store.ts'
import type { SqlDatabase } from './connection.ts'
import { findHolders } from './user-import.ts'

/**
 * Like an import, but writes to `scratch`, an empty database. So duplicate names are found in a dump of any size, and memory
 * holds only one batch. It contains ids and usernames only, no digests.
 */
export async function openTrialImport(db: SqlDatabase, scratch: SqlDatabase): Promise<UserImport> {
  await scratch.query('CREATE TABLE keyturn_users (id TEXT NOT NULL PRIMARY KEY, username TEXT NOT NULL UNIQUE)')
  return {
    async place(users, { update }) {
      const stored = await findHolders(db.query, users)
      return await scratch.exclusively(async ({ query }) => {
        // Users renamed by the trial have their new username.
        const tried = await findHolders(query, [...users, ...stored.map(({ id }) => ({ id }))])
        const holders = new Map([...stored, ...tried].map((holder) => [holder.id, holder]))
        const placings = placeUsers(users, [...holders.values()], { update, newId: randomUUID })
        for (const placing of placings) {
          if ('user' in placing) await query(note, [placing.user.id, placing.user.username])
        }
        return placings
      })
    }
  }
}

const note = `INSERT INTO keyturn_users (id, username) VALUES ($1, $2)
  ON CONFLICT (id) DO UPDATE SET username = excluded.username`

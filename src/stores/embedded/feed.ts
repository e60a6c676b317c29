import { poll } from '../../poll.ts'
import type { Revocation, Revocations } from '../../sessions/revocations.ts'
import type { RevocationFollower } from '../../sessions/store.ts'
import type { EmbeddedEngine } from './engine.ts'

/** How often a worker without requests reads the feed, in milliseconds. */
const interval = 500

/**
 * Keeps `replica` up to date from the table of revocations, which the processes of this host share. Loaded when it returns, and
 * read before each answer, by primary key, in some ten microseconds, so that a revocation that another process has answered is
 * known at once.
 */
export function followEmbeddedFeed(engine: EmbeddedEngine, replica: Revocations): RevocationFollower {
  let position = 0
  const read = (): void => {
    const rows = engine.run<Omit<Revocation, 'position'> & { position: number }>(
      'SELECT position, kind, id, revoked_at AS "revokedAt" FROM keyturn_revocations WHERE position > $1 ORDER BY position',
      [position]
    )
    if (rows.length > 0) replica.add(rows.map((row) => ({ ...row, position: `${row.position}` })))
    position = rows.at(-1)?.position ?? position
    replica.heard()
  }
  const tryToRead = (): void => {
    try {
      read()
    } catch (error) {
      replica.lost(error)
    }
  }
  const [epoch] = engine.run<{ second: number }>('SELECT began_at AS second FROM keyturn_epoch')
  replica.lostBefore(epoch?.second ?? 0)
  replica.began(epoch?.second ?? 0)
  read()
  replica.readFirst(tryToRead)
  const poller = poll(read, { intervalMs: interval, onOutage: (error) => replica.lost(error) })
  return {
    async close() {
      await poller.close()
      replica.readFirst(undefined)
    }
  }
}

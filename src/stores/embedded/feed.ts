import type { Revocation, Revocations } from '../../sessions/revocations.ts'
import type { RevocationFollower } from '../../sessions/store.ts'
import type { EmbeddedEngine } from './engine.ts'

/** How often a worker looks for news, in milliseconds. A look is one read by primary key, some ten microseconds. */
const interval = 20

/** Keeps `replica` up to date from the table of revocations, which the processes of this host share. Loaded when it returns. */
export function followEmbeddedFeed(engine: EmbeddedEngine, replica: Revocations): RevocationFollower {
  let position = 0
  const read = (): void => {
    const rows = engine.run<Revocation & { position: number }>(
      'SELECT position, id, revoked_at AS "revokedAt" FROM keyturn_revocations WHERE position > $1 ORDER BY position',
      [position]
    )
    replica.add(rows)
    position = rows.at(-1)?.position ?? position
    replica.heard()
  }
  read()
  const timer = setInterval(() => {
    try {
      read()
    } catch (error) {
      replica.lost(error)
    }
  }, interval)
  timer.unref()
  return {
    async close() {
      clearInterval(timer)
    }
  }
}

import { decideTry, type GuessStore, giveTryBack, trustedFor } from '../../passwords/guessing.ts'
import type { Clock } from '../../time.ts'
import type { EmbeddedEngine } from './engine.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS keyturn_guesses (
    key TEXT PRIMARY KEY,
    whole_at REAL NOT NULL
  );
  CREATE INDEX IF NOT EXISTS keyturn_guesses_expiry ON keyturn_guesses (whole_at);
  CREATE TABLE IF NOT EXISTS keyturn_known_sources (
    key TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS keyturn_known_sources_expiry ON keyturn_known_sources (expires_at);
`

/**
 * Guesses in the embedded database: `decideTry` inside a write transaction, so that processes of this host take turns.
 */
export async function openEmbeddedGuesses(engine: EmbeddedEngine, clock: Clock): Promise<GuessStore> {
  await engine.exclusively(({ script }) => script(schema))

  const read = (key: string): number =>
    engine.run<{ whole_at: number }>('SELECT whole_at FROM keyturn_guesses WHERE key = $1', [key])[0]?.whole_at ?? 0
  const write = (key: string, wholeAt: number): void => {
    engine.run(
      `INSERT INTO keyturn_guesses (key, whole_at) VALUES ($1, $2)
       ON CONFLICT (key) DO UPDATE SET whole_at = excluded.whole_at`,
      [key, wholeAt]
    )
  }
  /** Deletes a few expired entries: more than one write can add. */
  const clearAway = (table: 'keyturn_guesses' | 'keyturn_known_sources', time: 'whole_at' | 'expires_at'): void => {
    engine.run(`DELETE FROM ${table} WHERE key IN (SELECT key FROM ${table} WHERE ${time} <= $1 LIMIT 20)`, [clock()])
  }

  return {
    async take(charges) {
      return engine.lightTransaction(() => {
        clearAway('keyturn_guesses', 'whole_at')
        const decisions = charges.map(({ key, budget }) => ({ key, ...decideTry(read(key), clock(), budget) }))
        const wait = Math.max(0, ...decisions.map((each) => each.wait))
        if (wait === 0) for (const { key, wholeAt } of decisions) write(key, wholeAt)
        return wait
      })
    },
    async giveBack(charges) {
      engine.lightTransaction(() => {
        for (const { key, budget } of charges) write(key, giveTryBack(Math.max(read(key), clock()), budget))
      })
    },
    async isKnown(key) {
      const rows = engine.run('SELECT 1 FROM keyturn_known_sources WHERE key = $1 AND expires_at > $2', [key, clock()])
      return rows.length > 0
    },
    async remember(key) {
      engine.lightTransaction(() => {
        clearAway('keyturn_known_sources', 'expires_at')
        engine.run(
          `INSERT INTO keyturn_known_sources (key, expires_at) VALUES ($1, $2)
           ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at`,
          [key, clock() + trustedFor]
        )
      })
    }
  }
}

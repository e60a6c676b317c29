import type { GuessStore } from '../../passwords/guessing.ts'
import type { SessionPolicy } from '../../sessions/session.ts'
import type { RevocationFeed, SessionStore } from '../../sessions/store.ts'
import type { Clock } from '../../time.ts'
import type { EmbeddedEngine } from './engine.ts'
import { followEmbeddedFeed } from './feed.ts'
import { openEmbeddedGuesses } from './guesses.ts'
import { openEmbeddedSessions } from './sessions.ts'

/**
 * Sessions, their revocation feed and guesses in the embedded file, which the caller closes. `window` is how long a revocation is
 * kept, in whole seconds.
 */
export async function openEmbeddedStore(
  engine: EmbeddedEngine,
  policy: SessionPolicy,
  window: number,
  clock: Clock
): Promise<{ sessions: SessionStore; feed: RevocationFeed; guesses: GuessStore }> {
  return {
    sessions: await openEmbeddedSessions(engine, policy, window, clock),
    feed: { follow: async (replica) => followEmbeddedFeed(engine, replica) },
    guesses: await openEmbeddedGuesses(engine, clock)
  }
}

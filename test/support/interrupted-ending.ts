/*
 * For `fork`, with DATA_DIR, a user id and the sid of the session to keep: begins to end the other sessions of the user, and is
 * killed within the transaction of the second step.
 */
import { type EmbeddedEngine, openEmbedded } from '../../src/stores/embedded/engine.ts'
import { openEmbeddedSessions } from '../../src/stores/embedded/sessions.ts'
import { systemClock } from '../../src/time.ts'
import { aPolicy } from './makers.ts'

const [, , dataDir = '', userId = '', kept] = process.argv
const engine = openEmbedded(dataDir)
const mortal: EmbeddedEngine = {
  ...engine,
  lightTransaction: (work) =>
    engine.lightTransaction(() => {
      work()
      process.kill(process.pid, 'SIGKILL')
      throw new Error('the signal has ended this process')
    })
}
const sessions = await openEmbeddedSessions(mortal, aPolicy(), 360, systemClock)
await sessions.revokeAll(userId, kept)

import { setTimeout as delay } from 'node:timers/promises'
import { comesBefore } from '../../sessions/revocation-log.ts'
import type { Revocation, Revocations } from '../../sessions/revocations.ts'
import type { RevocationFollower } from '../../sessions/store.ts'
import { type Connection, redisDown } from './client.ts'
import { defineScripts, type FeedNames, readEpoch } from './scripts.ts'

/** How long a read of the feed waits for news, in milliseconds. Silence is news too: it says that nothing was revoked. */
const block = 1000
/** Entries of one read. */
const page = 1000
const start = '0-0'

type Entry = readonly [id: Buffer, fields: Buffer[]]

/**
 * Keeps `replica` up to date from the stream of `names`: loads what it holds, then follows it with a blocking read from the last
 * entry seen, so that a broken connection resumes where it stopped and nothing is missed. `reader` is a connection of its own.
 * Resolves after the first load, or throws KeyturnError STORE_DOWN; a connection that breaks later is waited for.
 */
export async function followRedisFeed(
  reader: Connection,
  names: FeedNames,
  replica: Revocations
): Promise<RevocationFollower> {
  const { feed } = names
  let position = start
  let closed = false
  let epochReadAt = Number.NEGATIVE_INFINITY
  let knownEpoch: number | undefined
  defineScripts(reader)

  const lookAtEpoch = async (): Promise<void> => {
    const { epoch, now } = await readEpoch(reader, names)
    // One second earlier, since clocks are read in whole seconds: a token that is issued right after the start is not refused.
    if (epoch !== knownEpoch) {
      replica.lostBefore(epoch - 1, now)
      replica.began(epoch)
    }
    knownEpoch = epoch
    epochReadAt = performance.now()
  }

  /** Takes in the entries after `position`, waiting for one so many milliseconds; how many there were. */
  const read = async (wait?: number): Promise<number> => {
    const reply = await (wait === undefined
      ? reader.xreadBuffer('COUNT', page, 'STREAMS', feed, position)
      : reader.xreadBuffer('COUNT', page, 'BLOCK', wait, 'STREAMS', feed, position))
    const entries = reply?.[0]?.[1] ?? []
    replica.add(entries.map(toRevocation))
    position = entries.at(-1)?.[0].toString() ?? position
    return entries.length
  }

  /** The epoch is read last: if it is as before, then nothing was lost before what has just been read. */
  const confirm = async (): Promise<void> => {
    await lookAtEpoch()
    replica.heard()
  }

  const load = async (): Promise<void> => {
    while ((await read()) > 0) {}
    await confirm()
  }

  /**
   * A stream that ends before the last entry seen has lost data: the server was restarted empty, or a replica that had less
   * took over. What is known stays known; the rest is read from the start.
   */
  const resumeAfterLoss = async (): Promise<void> => {
    if (comesBefore(await newestId(reader, feed), position)) position = start
    await load()
  }

  const follow = async (): Promise<void> => {
    while (!closed) {
      try {
        const count = await read(block)
        if (count === 0) await resumeAfterLoss()
        // A full page may not be all that there is.
        else if (count < page && performance.now() - epochReadAt > block) await confirm()
      } catch (error) {
        replica.lost(error)
        await delay(100)
      }
    }
  }

  try {
    await load()
  } catch (error) {
    reader.disconnect()
    throw redisDown(error)
  }
  void follow()
  return {
    async close() {
      closed = true
      // A read that waits for a connection is not answered after this, not even with an error: so it is not waited for.
      reader.disconnect()
    }
  }
}

/** The id of an entry begins with the milliseconds at which it was written. */
function toRevocation([id, [name, value]]: Entry): Revocation {
  const kind = String(name)
  return {
    kind: kind === 'sid' || kind === 'jti' ? kind : 'any',
    id: (value as Buffer).toString('hex'),
    position: id.toString(),
    revokedAt: Math.floor(Number.parseInt(id.toString(), 10) / 1000)
  }
}

async function newestId(reader: Connection, feed: string): Promise<string> {
  const [entry] = await reader.xrevrangeBuffer(feed, '+', '-', 'COUNT', 1)
  return entry?.[0].toString() ?? start
}

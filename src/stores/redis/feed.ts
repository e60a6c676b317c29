import { setTimeout as delay } from 'node:timers/promises'
import { comesBefore } from '../../sessions/revocation-log.ts'
import type { Revocation, Revocations } from '../../sessions/revocations.ts'
import type { RevocationFollower } from '../../sessions/store.ts'
import { type Connection, redisDown } from './client.ts'
import { FeedEpoch } from './epoch.ts'
import { defineScripts, type FeedNames } from './scripts.ts'

/**
 * How long a read of the feed waits for entries, in milliseconds. An empty result is useful too: it means that nothing was
 * revoked.
 */
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
  replica: Revocations,
  epoch = new FeedEpoch(names)
): Promise<RevocationFollower> {
  const follower = new RedisFeedFollower(reader, names, replica, epoch)
  try {
    await follower.load()
  } catch (error) {
    reader.disconnect()
    throw redisDown(error)
  }
  void follower.follow()
  return follower
}

class RedisFeedFollower implements RevocationFollower {
  readonly #reader: Connection
  readonly #names: FeedNames
  readonly #replica: Revocations
  readonly #epoch: FeedEpoch
  /** The id of the last entry seen. */
  #position = start
  #closed = false
  #epochReadAt = Number.NEGATIVE_INFINITY
  #knownEpoch: number | undefined

  constructor(reader: Connection, names: FeedNames, replica: Revocations, epoch: FeedEpoch) {
    this.#reader = reader
    this.#names = names
    this.#replica = replica
    this.#epoch = epoch
    defineScripts(reader)
  }

  async load(): Promise<void> {
    while ((await this.#readPage()) > 0) {}
    await this.#confirm()
  }

  /** Resolves once the follower is closed. */
  async follow(): Promise<void> {
    while (!this.#closed) {
      try {
        const count = await this.#readPage(block)
        if (count === 0) await this.#resumeAfterLoss()
        // After a full page there may be more entries.
        else if (count < page && performance.now() - this.#epochReadAt > block) await this.#confirm()
      } catch (error) {
        this.#replica.lost(error)
        await delay(100)
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    // A read that waits for a connection is never settled after this, not even with an error, so it is not awaited.
    this.#reader.disconnect()
  }

  /** Reads the entries after the position into the replica, waiting up to `waitMs` for one, and returns their number. */
  async #readPage(waitMs?: number): Promise<number> {
    const { feed } = this.#names
    const reply = await (waitMs === undefined
      ? this.#reader.xreadBuffer('COUNT', page, 'STREAMS', feed, this.#position)
      : this.#reader.xreadBuffer('COUNT', page, 'BLOCK', waitMs, 'STREAMS', feed, this.#position))
    const entries = reply?.[0]?.[1] ?? []
    this.#replica.add(entries.map(toRevocation))
    this.#position = entries.at(-1)?.[0].toString() ?? this.#position
    return entries.length
  }

  /** The epoch is read last: if it has not changed, nothing was lost before the entries that have just been read. */
  async #confirm(): Promise<void> {
    const { second, now } = await this.#epoch.read(this.#reader)
    // One second earlier, since clocks are read in whole seconds: a token that is issued right after the first start is not refused.
    if (second !== this.#knownEpoch) {
      this.#replica.lostBefore(second - 1, now)
      this.#replica.began(second)
    }
    this.#knownEpoch = second
    this.#epochReadAt = performance.now()
    this.#replica.heard()
  }

  /**
   * A stream that ends before the last entry seen has lost data: the server was restarted empty, or a replica that had less
   * took over. What is known stays known; the rest is read from the start.
   */
  async #resumeAfterLoss(): Promise<void> {
    if (comesBefore(await newestId(this.#reader, this.#names.feed), this.#position)) this.#position = start
    await this.load()
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

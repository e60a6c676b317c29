import type { Connection } from './client.ts'
import { type Epoch, type FeedNames, readEpoch } from './scripts.ts'

/** The epoch of the revocation feed, as all connections of this process know it. */
export class FeedEpoch {
  readonly #names: FeedNames
  #known: number | undefined

  constructor(names: FeedNames) {
    this.#names = names
  }

  /** Reads the epoch. If it differs from the one that this process has read before, a loss is recorded in Redis. */
  async read(redis: Connection): Promise<Epoch> {
    const epoch = await readEpoch(redis, this.#names, this.#known)
    this.#known = epoch.second
    return epoch
  }

  /**
   * Whether Redis has lost data since a token of another issuer was issued, in seconds since 1970. In that case, it is not
   * known whether the token was adopted or ended here.
   */
  async isLostSince(redis: Connection, issuedAt: number): Promise<boolean> {
    const { second, isLoss } = await this.read(redis)
    return isLoss && issuedAt < second
  }
}

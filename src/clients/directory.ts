import { KeyturnError } from '../errors.ts'
import { type Clock, monotonicClock } from '../time.ts'
import type { Client } from './client.ts'
import type { ClientStore } from './store.ts'

/**
 * This worker's copy of all clients. No request waits for the database to authenticate a client, and an unknown id costs
 * the same as an existing one. Changes show when the copy is reloaded (plugins/client.ts).
 */
export interface ClientDirectory {
  /** Fails closed: throws KeyturnError STORE_DOWN when the copy is older than `staleness`. */
  find(id: string): Client | undefined
  /** Reloads the copy. Throws KeyturnError STORE_DOWN; the copy then stays as it is. */
  update(): Promise<void>
}

/**
 * An empty directory: call `update` before `find`. `staleness` is how long a copy may be used, in whole seconds.
 */
export function makeClientDirectory(
  store: Pick<ClientStore, 'list'>,
  staleness: number,
  monotonic: Clock = monotonicClock
): ClientDirectory {
  let clients: ReadonlyMap<string, Client> = new Map()
  let readAt = Number.NEGATIVE_INFINITY
  return {
    find(id) {
      if (monotonic() - readAt > staleness)
        throw new KeyturnError('STORE_DOWN', { detail: 'the clients cannot be read', retryAfter: 1 })
      return clients.get(id)
    },
    async update() {
      // The age of a copy counts from the query, not from its result.
      const asked = monotonic()
      clients = new Map((await store.list()).map((client) => [client.id, client]))
      readAt = asked
    }
  }
}

import { KeyturnError } from '../errors.ts'
import { type Clock, monotonicClock } from '../time.ts'
import type { Client } from './client.ts'
import type { ClientStore } from './store.ts'

/**
 * This worker's copy of all clients. No request waits for the database to learn who asks, and an unknown id costs what
 * a known one does. What changes is known here as soon as the copy is read anew (plugins/client.ts).
 */
export interface ClientDirectory {
  /** Throws KeyturnError STORE_DOWN when the clients could not be read for too long: closed, not open. */
  find(id: string): Client | undefined
  /** Reads them anew. Throws KeyturnError STORE_DOWN; the copy then stays as it is. */
  update(): Promise<void>
}

/**
 * An empty directory, to be updated before it is asked. `staleness` is how long a copy may be believed, in whole
 * seconds.
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
      // What is read is as old as the question.
      const asked = monotonic()
      clients = new Map((await store.list()).map((client) => [client.id, client]))
      readAt = asked
    }
  }
}

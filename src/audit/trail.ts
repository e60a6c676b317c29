import { KeyturnError } from '../errors.ts'
import { beginning, type Link, link } from './chain.ts'
import type { AuditEvent } from './event.ts'
import type { AuditEntry, AuditStore } from './store.ts'

/** How many entries of a process may wait for the store: about 5 MB. */
const maxWaiting = 10_000

/** How many entries are written at once. */
const batchSize = 500

/** Makes the entry after `before`. If its event does not name a user, it concerns the one with this id. */
export type EntryAfter = (before: Link, userId?: string) => AuditEntry

/** Writes to the audit trail. */
export interface AuditTrail {
  /** Adds an event after all earlier ones of this process. Throws KeyturnError STORE_DOWN; the event is then not recorded. */
  record(event: AuditEvent): Promise<void>
  /** For a store that adds the entry itself, in one transaction with the change that it records. */
  entryOf(event: AuditEvent): EntryAfter
  /** How many entries of this process wait for the store. */
  waiting(): number
  /** Resolves when all pending events are recorded or have failed. */
  settled(): Promise<void>
}

interface Pending {
  readonly event: AuditEvent
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * Processes share one chain without a lock: each tries the positions after the newest entry that it knows, and reads the newest
 * entry again if another process was faster. A process adds all events that wait at once, so that they share one round trip, and
 * it competes only with others.
 */
export function makeAuditTrail(store: AuditStore, secret: Buffer): AuditTrail {
  let newest: Link | undefined
  const queue: Pending[] = []
  let waiting = 0
  let writing: Promise<void> | undefined
  const add = async (batch: readonly Pending[]): Promise<void> => {
    for (;;) {
      const entries: AuditEntry[] = []
      const before = newest ?? (await store.last()) ?? beginning
      for (const { event } of batch) entries.push(link(entries.at(-1) ?? before, event, secret))
      // After an error it is unknown whether the entries were added.
      newest = undefined
      if (!(await store.add(entries))) continue
      newest = entries.at(-1)
      return
    }
  }
  const settle = async (batch: readonly Pending[]): Promise<void> => {
    try {
      await add(batch)
      for (const { resolve } of batch) resolve()
    } catch (error) {
      if (batch.length > 1 && !(error instanceof KeyturnError)) {
        // The store answered, but refused an entry: the acts of the other requests must not fail with it.
        for (const pending of batch) await settle([pending])
      } else {
        for (const { reject } of batch) reject(error)
      }
    }
  }
  const writeAll = async (): Promise<void> => {
    // Requests that are answered in the same turn of the event loop share a batch.
    await undefined
    while (queue.length > 0) {
      const batch = queue.splice(0, batchSize)
      await settle(batch)
      waiting -= batch.length
    }
    writing = undefined
  }
  return {
    async record(event) {
      if (waiting >= maxWaiting) throw new KeyturnError('STORE_DOWN', { detail: `${waiting} events are waiting` })
      waiting += 1
      const added = new Promise<void>((resolve, reject) => queue.push({ event, resolve, reject }))
      writing ??= writeAll()
      await added
    },
    entryOf: (event) => (before, userId) => link(before, { ...event, userId: event.userId ?? userId }, secret),
    waiting: () => waiting,
    settled: async () => writing
  }
}

import { KeyturnError } from '../errors.ts'
import { beginning, type Link, link } from './chain.ts'
import type { AuditEvent } from './event.ts'
import type { AuditStore } from './store.ts'

/** How many entries of a process may wait for the store: about 5 MB. */
const maxWaiting = 10_000

/** Writes to the audit trail. */
export interface AuditTrail {
  /** Adds an event after all earlier ones of this process. Throws KeyturnError STORE_DOWN; the event is then not recorded. */
  record(event: AuditEvent): Promise<void>
  /** How many entries of this process wait for the store. */
  waiting(): number
  /** Resolves when all pending events are recorded or have failed. */
  settled(): Promise<void>
}

/**
 * Processes share one chain without a lock: each tries the position after the newest entry that it knows, and reads the newest
 * entry again if another process was faster. A process adds one event at a time, so it competes only with others.
 */
export function makeAuditTrail(store: AuditStore, secret: Buffer): AuditTrail {
  let newest: Link | undefined
  let line = Promise.resolve()
  let waiting = 0
  const add = async (event: AuditEvent): Promise<void> => {
    for (;;) {
      const entry = link(newest ?? (await store.last()) ?? beginning, event, secret)
      // After an error it is unknown whether the entry was added.
      newest = undefined
      if (!(await store.add(entry))) continue
      newest = entry
      return
    }
  }
  return {
    async record(event) {
      if (waiting >= maxWaiting) throw new KeyturnError('STORE_DOWN', { detail: `${waiting} events are waiting` })
      waiting += 1
      const added = line.then(() => add(event))
      line = added.then(
        () => {},
        () => {}
      )
      await added.finally(() => {
        waiting -= 1
      })
    },
    waiting: () => waiting,
    settled: () => line
  }
}

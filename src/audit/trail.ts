import { KeyturnError } from '../errors.ts'
import { beginning, type Link, link } from './chain.ts'
import type { AuditEvent } from './event.ts'
import type { AuditStore } from './store.ts'

/** Entries of a process that may wait for the store, about 5 MB of them. */
const maxWaiting = 10_000

/** The audit trail, for a process that writes to it. */
export interface AuditTrail {
  /** Adds an event after all that this process recorded before. Throws KeyturnError STORE_DOWN, then it is not recorded. */
  record(event: AuditEvent): Promise<void>
  /** How many entries of this process wait for the store. */
  waiting(): number
  /** Once all that was to be recorded is, or has failed. */
  settled(): Promise<void>
}

/**
 * Processes share one chain without a lock: each takes the place after the newest entry that it knows of, and where another one
 * was faster it looks again. A process adds one event at a time, so it loses only to others.
 */
export function makeAuditTrail(store: AuditStore, secret: Buffer): AuditTrail {
  let newest: Link | undefined
  let line = Promise.resolve()
  let waiting = 0
  const add = async (event: AuditEvent): Promise<void> => {
    for (;;) {
      const entry = link(newest ?? (await store.last()) ?? beginning, event, secret)
      // Whether an addition that failed has come about is not known.
      newest = undefined
      if (!(await store.add(entry))) continue
      newest = entry
      return
    }
  }
  return {
    async record(event) {
      if (waiting >= maxWaiting) throw new KeyturnError('STORE_DOWN', { detail: `${waiting} events wait already` })
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

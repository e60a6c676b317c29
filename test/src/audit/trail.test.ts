import t from 'tap'
import { KeyturnError } from '../../../src/errors.ts'
import type { AuditEvent } from '../../../src/audit/event.ts'
import type { AuditEntry, AuditStore } from '../../../src/audit/store.ts'
import { makeAuditTrail } from '../../../src/audit/trail.ts'

const secret = Buffer.alloc(32, 7)

const anEvent = (requestId: string): AuditEvent => ({
  event: 'logout',
  result: 'ok',
  at: 1_700_000_000,
  userId: 'ann',
  ip: '192.0.2.1',
  requestId
})

/** A store in memory that fails as `failure` says. */
function aStore(failure: (entries: readonly AuditEntry[]) => Error | undefined) {
  const kept: AuditEntry[] = []
  let calls = 0
  const store = {
    last: async () => kept.at(-1),
    add: async (entries: readonly AuditEntry[]) => {
      calls += 1
      const error = failure(entries)
      if (error !== undefined) throw error
      kept.push(...entries)
      return true
    }
  } as Pick<AuditStore, 'last' | 'add'> as AuditStore
  return { store, calls: () => calls, requests: () => kept.map(({ requestId }) => requestId) }
}

const record = async (store: AuditStore, requestIds: readonly string[]): Promise<string[]> => {
  const trail = makeAuditTrail(store, secret)
  const results = await Promise.allSettled(requestIds.map((id) => trail.record(anEvent(id))))
  t.equal(trail.waiting(), 0)
  return results.map(({ status }) => status)
}

t.test('the audit trail: an entry that the store refuses does not fail the others of its batch', async (t) => {
  const { store, requests } = aStore((entries) =>
    entries.some(({ requestId }) => requestId === 'bad') ? new Error('unsupported Unicode escape sequence') : undefined
  )
  t.same(await record(store, ['a', 'bad', 'b']), ['fulfilled', 'rejected', 'fulfilled'])
  t.same(requests(), ['a', 'b'])
})

t.test('the audit trail: while the store is down, a batch fails at once', async (t) => {
  const { store, calls } = aStore(() => new KeyturnError('STORE_DOWN'))
  t.same(await record(store, ['a', 'b', 'c']), ['rejected', 'rejected', 'rejected'])
  t.equal(calls(), 1)
})

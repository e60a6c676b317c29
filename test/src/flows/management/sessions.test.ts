import t from 'tap'
import { makeAuditTrail } from '../../../../src/audit/trail.ts'
import type { AuditEntry } from '../../../../src/audit/store.ts'
import { makeRecordAct } from '../../../../src/flows/management/act.ts'
import { makeManageSessions } from '../../../../src/flows/management/sessions.ts'

t.test('each of 12,000 sessions of one user has its entry, although the trail holds 10,000 that wait', async (t) => {
  const written: AuditEntry[] = []
  const store = {
    last: async () => written.at(-1),
    add: async (entries: readonly AuditEntry[]) => written.push(...entries) > 0,
    list: async () => [],
    countUnplaced: async () => 0
  }
  const sids = Array.from({ length: 12_000 }, (_, index) => `${index}`)
  const record = makeRecordAct(makeAuditTrail(store, Buffer.alloc(32)), () => 1_795_320_298)
  const manage = makeManageSessions({ sessions: { revoke: async () => true, revokeAll: async () => sids }, record })
  const by = { actor: 'root@host', ip: '', requestId: 'x', scopes: undefined }
  t.same(await manage.endAll(by, 'ann'), sids)
  t.same(
    written.map(({ sid }) => sid),
    sids
  )
})

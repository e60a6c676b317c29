import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { makeAuditTrail } from '../../../../src/audit/trail.ts'
import type { AuditEntry } from '../../../../src/audit/store.ts'
import { KeyturnError } from '../../../../src/errors.ts'
import { makeRecordAct, type RecordAct } from '../../../../src/flows/management/act.ts'
import { makeManageSessions } from '../../../../src/flows/management/sessions.ts'
import type { User } from '../../../../src/users/user.ts'

const by = { actor: 'root@host', ip: '', requestId: 'x', scopes: undefined }
const ids = Array.from({ length: 1000 }, (_, index) => `user-${index}`)

/** Whose ids begin with `user-`. */
const users = {
  async findById(id: string): Promise<User | undefined> {
    const user = {
      id,
      username: id,
      passwordHash: '',
      isActive: true,
      createdAt: 0,
      lastLoginAt: undefined,
      claims: {}
    }
    return id.startsWith('user-') ? user : undefined
  }
}

t.test('each of 12,000 sessions of one user has its entry, although the trail holds 10,000 that wait', async (t) => {
  const written: AuditEntry[] = []
  const store = {
    last: async () => written.at(-1),
    add: async (entries: readonly AuditEntry[]) => written.push(...entries) > 0,
    list: async () => [],
    listNewest: async () => [],
    countUnplaced: async () => 0
  }
  const sids = Array.from({ length: 12_000 }, (_, index) => `${index}`)
  const record = makeRecordAct(makeAuditTrail(store, Buffer.alloc(32)), () => 1_795_320_298)
  const sessions = { revoke: async () => true, revokeAll: async () => sids }
  const manage = makeManageSessions({ users, sessions, record })
  t.same(await manage.endAll(by, 'ann'), sids)
  t.same(
    written.map(({ sid }) => sid),
    sids
  )
})

t.test('the sessions of many users end once, and each user has an entry', async (t) => {
  const recorded = new Map<string | undefined, string>()
  let [current, highest] = [0, 0]
  const sessions = {
    revoke: async () => true,
    async revokeAll(userId: string) {
      highest = Math.max(highest, ++current)
      await nextTurn()
      current -= 1
      return userId.endsWith('7') ? [] : ['a', 'b']
    }
  }
  const record: RecordAct = async (_event, _by, on = {}) => void recorded.set(on.userId, on.result ?? 'ok')
  const manage = makeManageSessions({ users, sessions, record })
  const unknown = ['unknown-7', '\0 7']
  t.same(await manage.endAllOf(by, [...ids, ...unknown, ...ids]), { users: 900, sessions: 1800 })
  t.same(recorded, new Map(ids.map((id) => [id, id.endsWith('7') ? 'ended' : 'ok'])))
  t.equal(highest, 100)
})

t.test('a call that fails half-way has recorded what it ended, and no answer comes before an entry', async (t) => {
  const [ended, recorded] = [new Set<string>(), new Set<string | undefined>()]
  let isDown = true
  const sessions = {
    revoke: async () => true,
    async revokeAll(userId: string) {
      if (isDown && userId === 'user-250') throw new KeyturnError('STORE_DOWN')
      await nextTurn()
      const isNew = !ended.has(userId)
      ended.add(userId)
      return isNew ? [userId] : []
    }
  }
  const record = async (_event: unknown, _by: unknown, on: { userId?: string | undefined } = {}) => {
    // The last entry takes longest.
    for (let turns = 0; on.userId === ids.at(-1) && turns < 10; turns++) await nextTurn()
    recorded.add(on.userId)
  }
  const manage = makeManageSessions({ users, sessions, record })
  await t.rejects(manage.endAllOf(by, ids), { code: 'STORE_DOWN' })
  t.ok(ended.size < 1000)
  isDown = false
  await manage.endAllOf(by, ids)
  t.equal(ended.size, 1000)
  t.same([...recorded].toSorted(), ids.toSorted(), 'each user has an entry by the time of the answer')
})

t.test('an entry that cannot be written fails the call', async (t) => {
  const sessions = { revoke: async () => true, revokeAll: async () => ['a'] }
  for (const failing of ['user-0', 'user-999']) {
    const record = async (_event: unknown, _by: unknown, on: { userId?: string | undefined } = {}) => {
      if (on.userId === failing) throw new KeyturnError('STORE_DOWN')
    }
    const manage = makeManageSessions({ users, sessions, record })
    await t.rejects(manage.endAllOf(by, ids), { code: 'STORE_DOWN' }, failing)
  }
})

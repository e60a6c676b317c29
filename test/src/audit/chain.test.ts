import t from 'tap'
import { beginning, chainFault, link } from '../../../src/audit/chain.ts'
import { type AuditEvent, isAudited } from '../../../src/audit/event.ts'
import type { AuditEntry } from '../../../src/audit/store.ts'

const secret = Buffer.alloc(32, 7)

const anEvent = (changes: Partial<AuditEvent> = {}): AuditEvent => ({
  event: 'login',
  result: 'ok',
  at: 1_700_000_000,
  userId: 'ann',
  sid: 'a sid',
  ip: '192.0.2.1',
  requestId: 'a request',
  ...changes
})

const aTrail = (length: number): AuditEntry[] => {
  const entries: AuditEntry[] = []
  for (let n = 0; n < length; n++)
    entries.push(link(entries.at(-1) ?? beginning, anEvent({ at: 1_700_000_000 + n }), secret))
  return entries
}

/** What is found wrong with a trail, entry by entry. */
const faultsOf = (entries: readonly AuditEntry[], key = secret): string[] =>
  entries.flatMap((entry, index) => chainFault(entries[index - 1] ?? beginning, entry, key) ?? [])

const isChanged = (seq: number) =>
  `Entry ${seq} is not what was written: it, or the one before it, was changed or put in.`

t.test('a trail as it was written', async (t) => {
  t.same(faultsOf(aTrail(5)), [])
  t.same(
    aTrail(3).map(({ seq }) => seq),
    [1, 2, 3]
  )
})

t.test('whatever is changed in an entry is found', async (t) => {
  const { seq: _, hash: __, ...facts } = link(beginning, anEvent({ object: 'a key', actor: 'root@host' }), secret)
  for (const name of Object.keys(facts)) {
    const entries = aTrail(3)
    const [first, second, third] = entries as [AuditEntry, AuditEntry, AuditEntry]
    t.same(faultsOf([first, { ...second, [name]: name === 'at' ? 1 : 'other' }, third]), [isChanged(2)], name)
  }
})

t.test('what is in one field does not pass for another', async (t) => {
  const hash = (changes: Partial<AuditEvent>) => link(beginning, anEvent(changes), secret).hash
  t.not(hash({ userId: 'a', sid: undefined }), hash({ userId: undefined, sid: 'a' }))
  t.not(hash({ userId: 'a","b', sid: 'c' }), hash({ userId: 'a', sid: 'b","c' }))
})

t.test('entries that are taken out, put in or moved', async (t) => {
  const [first, second, third, fourth] = aTrail(4) as [AuditEntry, AuditEntry, AuditEntry, AuditEntry]
  t.same(faultsOf([first, third, fourth]), ['Entry 2 is missing.'])
  t.same(faultsOf([first, fourth]), ['Entries 2 to 3 are missing.'])
  t.same(faultsOf([third, fourth]), ['Entries 1 to 2 are missing.'])
  t.same(faultsOf([first, { ...third, seq: 2 }, { ...second, seq: 3 }, fourth]), [
    isChanged(2),
    isChanged(3),
    isChanged(4)
  ])
  const forged = link(first, anEvent({ userId: 'mallory' }), Buffer.alloc(32, 8))
  t.same(faultsOf([first, forged]), [isChanged(2)], 'the chain cannot be continued without the secret')
  t.same(faultsOf([first, second], Buffer.alloc(32, 8)).length, 2)
})

t.test('which requests belong in the trail', async (t) => {
  for (const [event, result] of [
    ['login', 'ok'],
    ['login', 'login_failed'],
    ['refresh', 'reused'],
    ['refresh', 'retried'],
    ['refresh', 'user_gone'],
    ['logout', 'ok'],
    ['session_end', 'ok'],
    ['password_change', 'fields_invalid'],
    ['introspect', 'client_invalid'],
    ['client_token', 'client_invalid']
  ] as const)
    t.ok(isAudited(event, result), `${event} ${result}`)
  for (const [event, result] of [
    ['login', 'rate_limited'],
    ['login', 'fields_invalid'],
    ['login', 'busy'],
    ['refresh', 'rotated'],
    ['refresh', 'current'],
    ['refresh', 'token_invalid'],
    ['verify', 'ok'],
    ['verify', 'token_invalid'],
    ['introspect', 'active'],
    ['forward_auth', 'ok'],
    ['client_token', 'ok'],
    // Recorded by their flows.
    ['password_change', 'ok'],
    ['password_reset', 'ok'],
    ['logout', 'token_invalid']
  ] as const)
    t.notOk(isAudited(event, result), `${event} ${result}`)
})

/* Where users of a dump go: made, overwritten, passed over or refused. */
import { deepStrictEqual as deepEqual, equal, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { GivenUser } from '../../../src/users/import.ts'
import { type Holder, placeUsers } from '../../../src/users/placing.ts'
import { aGivenUser } from '../../conformance/user-import.ts'

/** What becomes of each, in a word; of those that are written, where. */
function place(users: readonly GivenUser[], holders: readonly Holder[], update = false): readonly string[] {
  let made = 0
  return placeUsers(users, holders, { update, newId: () => `new${++made}` }).map((placing) =>
    'user' in placing ? `${placing.kind} ${placing.user.id} ${placing.user.username}` : placing.kind
  )
}

const ann: Holder = { id: '1', username: 'ann' }
const ben: Holder = { id: '2', username: 'ben' }

t.test('one user', async (t) => {
  const rows: readonly (readonly [user: GivenUser, holders: readonly Holder[], skipping: string, updating: string])[] =
    [
      [aGivenUser('1', 'ann'), [], 'created 1 ann', 'created 1 ann'],
      [aGivenUser('1', 'ann'), [ann], 'skipped', 'updated 1 ann'],
      [aGivenUser('1', 'anna'), [ann], 'skipped', 'updated 1 anna'],
      [aGivenUser('1', 'ben'), [ann, ben], 'skipped', 'refused'],
      [aGivenUser('3', 'ann'), [ann], 'refused', 'refused'],
      [aGivenUser(undefined, 'ann'), [], 'created new1 ann', 'created new1 ann'],
      [aGivenUser(undefined, 'ann'), [ann], 'skipped', 'updated 1 ann']
    ]
  for (const [user, holders, skipping, updating] of rows) {
    t.same(place([user], holders), [skipping], JSON.stringify([user.id, user.username, holders]))
    t.same(place([user], holders, true), [updating], JSON.stringify([user.id, user.username, holders, 'update']))
  }
  const [placing] = placeUsers([aGivenUser('3', 'ann')], [ann], { update: false, newId: () => '' })
  t.same(placing, { kind: 'refused', reason: 'the username is taken by the user whose id is 1' })
})

t.test('a later one meets what an earlier one left', async (t) => {
  t.same(place([aGivenUser('1', 'ann'), aGivenUser('1', 'ann')], []), ['created 1 ann', 'skipped'])
  t.same(place([aGivenUser('1', 'ann'), aGivenUser('2', 'ann')], []), ['created 1 ann', 'refused'])
  t.same(place([aGivenUser(undefined, 'ann'), aGivenUser(undefined, 'ann')], []), ['created new1 ann', 'skipped'])
  t.same(place([aGivenUser('1', 'ann'), aGivenUser('1', 'anna')], [], true), ['created 1 ann', 'updated 1 anna'])
  const renamed = [aGivenUser('1', 'anna'), aGivenUser('3', 'ann')]
  t.same(place(renamed, [ann], true), ['updated 1 anna', 'created 3 ann'], 'a name that was given up is free')
  t.same(place(renamed, [ann]), ['skipped', 'refused'])
  t.same(
    place([aGivenUser('1', 'ben'), aGivenUser('2', 'ann')], [ann, ben], true),
    ['refused', 'refused'],
    'two that swap'
  )
})

t.test('no id and no name is ever there twice, and a second time nothing is new', async (t) => {
  const name = fc.constantFrom('ann', 'ben', 'cat', 'dan')
  const users = fc.array(fc.record({ id: fc.constantFrom('1', '2', '3', undefined), username: name }), { maxLength: 8 })
  await fc.assert(
    fc.property(users, users, fc.boolean(), (before, dump, update) => {
      const start = aStore(update)
      for (const user of before) start.take([user])
      const atOnce = aStore(update, start.names)
      const kinds = atOnce.take(dump)
      const oneByOne = aStore(update, start.names)
      deepEqual(
        dump.flatMap((user) => oneByOne.take([user])),
        kinds
      )
      deepEqual(oneByOne.names, atOnce.names)
      // To overwrite is to rename too, and may set a name free that a row without an id then takes.
      ok(update || atOnce.take(dump).every((kind) => kind !== 'created'))
    })
  )
  t.pass('100 of them')
})

/** A store that does what is decided, and fails where an id or a name would be there twice. */
function aStore(update: boolean, before: ReadonlyMap<string, string> = new Map()) {
  const names = new Map(before)
  let made = 0
  const write = ({ id, username }: Holder, isThere: boolean): void => {
    equal(names.has(id), isThere)
    ok([...names].every(([other, taken]) => other === id || taken !== username))
    names.set(id, username)
  }
  return {
    names,
    take(users: readonly { readonly id: string | undefined; readonly username: string }[]): readonly string[] {
      const holders = [...names].map(([id, username]) => ({ id, username }))
      const batch = users.map(({ id, username }) => aGivenUser(id, username))
      const placings = placeUsers(batch, holders, { update, newId: () => `new${before.size}-${++made}` })
      for (const placing of placings) if ('user' in placing) write(placing.user, placing.kind === 'updated')
      return placings.map(({ kind }) => kind)
    }
  }
}

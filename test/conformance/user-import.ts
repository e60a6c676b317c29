import type { Test } from 'tap'
import { openTrialImport } from '../../src/stores/sql/trial-import.ts'
import { makePendingLogouts } from '../../src/stores/sql/pending-logouts.ts'
import { makeUserImport } from '../../src/stores/sql/user-import.ts'
import type { SqlDatabase } from '../../src/stores/sql/connection.ts'
import { makeUserStore } from '../../src/stores/sql/users.ts'
import { makeManualClock } from '../../src/time.ts'
import type { GivenUser } from '../../src/users/import.ts'
import { finishLogouts } from '../../src/users/pending-logouts.ts'
import { importBatch, type UserImport } from '../../src/users/store.ts'

/** A user as a dump may tell of one: an id, a name, and what the case is about. */
export const aGivenUser = (id: string | undefined, username: string, changes: Partial<GivenUser> = {}): GivenUser => ({
  id,
  username,
  passwordHash: '!',
  isActive: undefined,
  createdAt: undefined,
  lastLoginAt: undefined,
  claims: undefined,
  ...changes
})

const someUsers = (count: number): GivenUser[] =>
  Array.from({ length: count }, (_, index) => aGivenUser(`${index}`, `user${index}`))

/** What became of each, in a word. */
const kinds = async (store: UserImport, users: readonly GivenUser[], update = false): Promise<readonly string[]> =>
  (await store.place(users, { update })).map(({ kind }) => kind)

/** What must hold for users that are imported, in each SQL engine. `open` gives a database with tables, `openScratch` an empty one. */
export async function userImportSuite(
  t: Test,
  open: (t: Test) => Promise<SqlDatabase>,
  openScratch: (t: Test) => Promise<SqlDatabase>
): Promise<void> {
  const clock = makeManualClock()
  const openImport = async (t: Test) => {
    const db = await open(t)
    return { db, store: makeUserImport(db, clock), users: makeUserStore(db, clock) }
  }

  await t.test('a user comes with all that is given, and is active unless the dump says otherwise', async (t) => {
    const { store, users } = await openImport(t)
    const full = { isActive: false, createdAt: 1, lastLoginAt: -1, claims: { role: "o'hara", list: [1] } }
    const batch = [aGivenUser('7', 'ann', full), aGivenUser('8', 'ben'), aGivenUser(undefined, '\u{1f511} "%_\\')]
    t.same(await kinds(store, batch), ['created', 'created', 'created'])
    t.same(await users.findById('7'), { id: '7', username: 'ann', passwordHash: '!', ...full })
    const plain = { isActive: true, createdAt: clock(), lastLoginAt: undefined, claims: {} }
    t.same(await users.findByUsername('ben'), { id: '8', username: 'ben', passwordHash: '!', ...plain })
    t.match(await users.findByUsername('\u{1f511} "%_\\'), { id: /^[0-9a-f-]{36}$/, ...plain })
  })

  await t.test('a second time changes nothing', async (t) => {
    const { store, users } = await openImport(t)
    const ann = aGivenUser('7', 'ann')
    await store.place([ann], { update: false })
    await users.setPassword('7', 'new')
    const before = await users.list('', 10)
    t.same(await kinds(store, [ann, aGivenUser(undefined, 'ann')]), ['skipped', 'skipped'])
    t.match(await store.place([aGivenUser('8', 'ann')], { update: false }), [
      { kind: 'refused', reason: /whose id is 7$/ }
    ])
    t.same(await users.list('', 10), before)
  })

  await t.test('an update overwrites what the dump says, and nothing else', async (t) => {
    const { store, users } = await openImport(t)
    const full = { isActive: false, createdAt: 1, lastLoginAt: 2, claims: { role: 'admin' } }
    await store.place([aGivenUser('7', 'ann', full), aGivenUser('8', 'ben')], { update: false })
    t.same(await kinds(store, [aGivenUser('7', 'anna', { passwordHash: 'new' })], true), ['updated'])
    t.same(await users.findById('7'), { id: '7', username: 'anna', passwordHash: 'new', ...full })
    const other = { isActive: true, createdAt: 3, lastLoginAt: 4, claims: {} }
    t.same(await kinds(store, [aGivenUser(undefined, 'anna', other), aGivenUser('9', 'ann')], true), [
      'updated',
      'created'
    ])
    t.same(await users.findById('7'), { id: '7', username: 'anna', passwordHash: '!', ...other })
    t.match(await users.findById('8'), { username: 'ben', isActive: true })
    const chain = [aGivenUser('7', 'anne'), aGivenUser('8', 'anna'), aGivenUser('10', 'ben')]
    t.same(await kinds(store, chain, true), ['updated', 'updated', 'created'], 'a name that was given up goes on')
    const twice = [aGivenUser('11', 'dan'), aGivenUser('11', 'eve', { passwordHash: 'new' })]
    t.same(await kinds(store, twice, true), ['created', 'updated'])
    t.match(await users.findById('11'), { username: 'eve', passwordHash: 'new' }, 'the later one counts')
  })

  await t.test('an update lists the users whose sessions have to end, until they have ended', async (t) => {
    const { db, store, users } = await openImport(t)
    const pending = makePendingLogouts(db)
    const names = ['ann', 'ben', 'cat', 'dan']
    await store.place(
      names.map((name) => aGivenUser(name, name)),
      { update: false }
    )
    t.same(await pending.list(), [])
    const batch = [
      aGivenUser('ann', 'anna'),
      aGivenUser('ben', 'benno', { passwordHash: 'new' }),
      aGivenUser('cat', 'cat', { isActive: false }),
      aGivenUser('dan', 'dan', { isActive: false, passwordHash: 'new' }),
      aGivenUser('eve', 'eve', { isActive: false })
    ]
    await store.place(batch, { update: true })
    // Interrupted here, and run again with the same digests.
    await store.place([aGivenUser('ben', 'benno', { passwordHash: 'new' })], { update: true })
    await users.delete('dan')
    const sessionsDown = async () => {
      throw new Error('no sessions')
    }
    await t.rejects(finishLogouts(pending, sessionsDown), { message: 'no sessions' })
    const loggedOut: string[] = []
    await finishLogouts(pending, async ({ id, username }) => void loggedOut.push(`${id} ${username}`))
    t.same(loggedOut.toSorted(), ['ben benno', 'cat cat'])
    t.same(await pending.list(), [])
  })

  await t.test('what one import adds to the list, no other one removes', async (t) => {
    const { db, store } = await openImport(t)
    const pending = makePendingLogouts(db)
    const update = (passwordHash: string) => store.place([aGivenUser('7', 'ann', { passwordHash })], { update: true })
    await update('first')
    await update('second')
    const [{ id } = { id: '' }, ...others] = await pending.list()
    t.same(others, [])
    await update('third')
    await pending.remove([id])
    t.match(await pending.list(), [{ user: { id: '7' } }])
  })

  await t.test('the list may have any length', async (t) => {
    const { db, store } = await openImport(t)
    const inactive = someUsers(121).map((user) => ({ ...user, isActive: false }))
    await store.place(inactive, { update: false })
    await store.place(inactive, { update: true })
    const loggedOut: string[] = []
    await finishLogouts(makePendingLogouts(db), async ({ id }) => void loggedOut.push(id))
    t.same(loggedOut.toSorted(), inactive.map(({ id }) => id).toSorted())
  })

  await t.test('a batch may have any size up to the largest', async (t) => {
    for (const size of [0, 1, 50, 51, importBatch]) {
      const { store, users } = await openImport(t)
      t.equal((await kinds(store, someUsers(size))).filter((kind) => kind === 'created').length, size)
      t.equal((await users.list('', importBatch + 1)).length, size, `${size} users`)
      t.same(new Set(await kinds(store, someUsers(size))), new Set(size === 0 ? [] : ['skipped']))
    }
  })

  await t.test('a batch that fails leaves nothing', async (t) => {
    const { store, users } = await openImport(t)
    const claims = {
      toJSON: () => {
        throw new Error('half-way')
      }
    }
    await t.rejects(store.place([...someUsers(60), aGivenUser('x', 'x', { claims })], { update: false }), {
      message: 'half-way'
    })
    t.same(await users.list('', 10), [])
  })

  await t.test('a trial tells what would happen, and leaves the store alone', async (t) => {
    const { db, store, users } = await openImport(t)
    await store.place([aGivenUser('7', 'ann'), aGivenUser('8', 'ben')], { update: false })
    const before = await users.list('', 10)
    const openTrial = async () => await openTrialImport(db, await openScratch(t))
    const trial = await openTrial()
    t.same(await kinds(trial, [aGivenUser('7', 'ann'), aGivenUser('9', 'cat')]), ['skipped', 'created'])
    const again = [
      aGivenUser('9', 'cat'),
      aGivenUser('10', 'cat'),
      aGivenUser('11', 'ben'),
      aGivenUser(undefined, 'cat')
    ]
    t.same(await kinds(trial, again), ['skipped', 'refused', 'refused', 'skipped'], 'twice in two batches')
    const updating = await openTrial()
    t.same(await kinds(updating, [aGivenUser('7', 'anna')], true), ['updated'])
    const after = [aGivenUser('12', 'ann'), aGivenUser('8', 'anna'), aGivenUser('7', 'ann')]
    t.same(await kinds(updating, after, true), ['created', 'refused', 'refused'], 'names as they would be by then')
    t.same(await users.list('', 10), before)
  })
}

import type { Test } from 'tap'
import type { UserStore } from '../../src/users/store.ts'
import type { User } from '../../src/users/user.ts'

/** An empty user store whose time is stepped by the suite. */
export interface OpenedUsers {
  readonly store: UserStore
  now(): number
  advance(seconds: number): void
}

export type OpenUsers = () => Promise<OpenedUsers>

/** What every user store must do, run over each of them. */
export async function userStoreSuite(t: Test, open: OpenUsers): Promise<void> {
  await t.test('a user is created active, and found by name and id', async (t) => {
    const { store, now, advance } = await open()
    const ann = (await store.create('ann', 'digest')) as User
    t.match(ann.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    t.same(ann, {
      id: ann.id,
      username: 'ann',
      passwordHash: 'digest',
      isActive: true,
      createdAt: now(),
      lastLoginAt: undefined,
      claims: {}
    })
    t.same(await store.findByUsername('ann'), ann)
    t.same(await store.findById(ann.id), ann)
    await store.setClaims(ann.id, { role: 'admin' })
    t.same((await store.findById(ann.id))?.claims, { role: 'admin' })
    await store.setClaims(ann.id, {})
    advance(60)
    const ben = (await store.create('ben', 'digest')) as User
    t.equal(ben.createdAt, ann.createdAt + 60)
    t.not(ben.id, ann.id)
    t.equal(await store.findByUsername('unknown'), undefined)
    t.equal(await store.findById('unknown'), undefined)
  })

  await t.test('a name is taken once, however many want it at once', async (t) => {
    const { store } = await open()
    const created = await Promise.all(Array.from({ length: 20 }, (_, each) => store.create('ann', `digest ${each}`)))
    const [winner, ...others] = created.filter((user) => user !== undefined)
    t.same(others, [])
    t.same(await store.findByUsername('ann'), winner, 'the losers changed nothing')
    t.ok(await store.create('Ann', 'digest'), 'capitals make another name, as in Django')
  })

  await t.test('a user is renamed unless another one has the name', async (t) => {
    const { store } = await open()
    const [ann, ben] = [(await store.create('ann', 'digest')) as User, (await store.create('ben', 'digest')) as User]
    t.equal(await store.rename(ann.id, 'ben'), 'taken')
    t.equal(await store.rename('unknown', 'kim'), 'missing')
    const taken = await Promise.all([ann, ben].map(({ id }) => store.rename(id, 'kim')))
    t.same(taken.toSorted(), ['renamed', 'taken'], 'at once, one of them')
    const { id } = (await store.findByUsername('kim')) as User
    t.equal(await store.rename(id, 'k\u{212b}'), 'renamed')
    t.equal((await store.findById(id))?.username, 'k\u{c5}', 'in NFKC')
    t.equal(await store.rename(id, 'k\u{c5}'), 'renamed', 'to its own name')
  })

  await t.test('names are compared after NFKC', async (t) => {
    const { store } = await open()
    const created = await store.create('\u{ff21}nn\u{212b}', 'digest')
    t.equal(created?.username, 'Ann\u{c5}', 'fullwidth A and the sign for angstrom')
    t.same(await store.findByUsername('AnnA\u{30a}'), created)
    t.equal(await store.create('Ann\u{212b}', 'digest'), undefined)
  })

  await t.test('a name is any text', async (t) => {
    const { store } = await open()
    for (const name of ["o'hara; DROP TABLE keyturn_users --", '100%_\\', '\u{1f511}', 'x'.repeat(254)]) {
      const created = await store.create(name, 'digest')
      t.same(await store.findByUsername(name), created, name)
    }
    t.equal(await store.findByUsername('ann\0'), undefined, 'no user has a NUL in the name')
    t.equal(await store.findById('\0'), undefined)
  })

  await t.test('a change changes one thing of one user', async (t) => {
    const { store, now, advance } = await open()
    const ann = (await store.create('ann', 'old')) as User
    const ben = (await store.create('ben', 'old')) as User
    await store.setPassword(ann.id, 'new')
    t.same(await store.findById(ann.id), { ...ann, passwordHash: 'new' })
    await store.setActive(ann.id, false)
    t.same(await store.findById(ann.id), { ...ann, passwordHash: 'new', isActive: false })
    await store.setActive(ann.id, true)
    t.same(await store.findById(ann.id), { ...ann, passwordHash: 'new' })
    advance(60)
    await store.recordLogin(ann.id)
    t.same(await store.findById(ann.id), { ...ann, passwordHash: 'new', lastLoginAt: now() })
    t.same(await store.findById(ben.id), ben)
  })

  await t.test('a digest is replaced unless it has changed meanwhile', async (t) => {
    const { store } = await open()
    const ann = (await store.create('ann', 'old')) as User
    const ben = (await store.create('ben', 'old')) as User
    t.equal(await store.replacePasswordHash(ann.id, 'old', 'new'), true)
    t.same(await store.findById(ann.id), { ...ann, passwordHash: 'new' })
    t.equal(await store.replacePasswordHash(ann.id, 'old', 'newer'), false)
    t.same(await store.findById(ann.id), { ...ann, passwordHash: 'new' })
    t.same(await store.findById(ben.id), ben)
    t.equal(await store.replacePasswordHash('unknown', 'old', 'new'), false)
    const at = ['a', 'b', 'c', 'd'].map((each) => store.replacePasswordHash(ben.id, 'old', each))
    t.equal((await Promise.all(at)).filter((isReplaced) => isReplaced).length, 1, 'of several at once one wins')
  })

  await t.test('a lot draws the same users each time, and other lots others', async (t) => {
    const { store } = await open()
    const lots = Array.from({ length: 500 }, (_, index) => index / 500)
    t.same(await store.drawPasswordHashes(0.5), [])
    const names = Array.from({ length: 20 }, (_, index) => `user ${index}`)
    await store.create('user', 'user')
    for (const lot of [0, 0.5, 1 - 2 ** -48]) t.same(await store.drawPasswordHashes(lot), ['user'])
    for (const name of names) await store.create(name, name)
    const first = new Map<string, number>()
    for (const lot of lots) {
      const drawn = await store.drawPasswordHashes(lot)
      t.equal(drawn.length, 8)
      t.equal(new Set(drawn).size, 8, 'each once, round the end of the table')
      first.set(drawn[0] ?? '', lot)
    }
    // How many depends on the random ids. One or two would do so by chance in one run of ten million.
    t.ok(first.size > 2, `${first.size} users of ${names.length + 1} come first`)
    for (const [name, lot] of first) t.equal((await store.drawPasswordHashes(lot))[0], name)
  })

  await t.test('a user who is deleted is gone, and the name is free', async (t) => {
    const { store } = await open()
    const ann = (await store.create('ann', 'digest')) as User
    const ben = (await store.create('ben', 'digest')) as User
    await store.delete(ann.id)
    t.equal(await store.findById(ann.id), undefined)
    t.same(await store.list('', 10), [ben])
    await store.delete(ann.id)
    const again = await store.create('ann', 'digest')
    t.not(again?.id, ann.id, 'tokens of the old account are not good for the new one')
  })

  await t.test('the list comes in pages by name, each user once', async (t) => {
    const { store } = await open()
    const names = ['dan', 'ann', 'eve', 'cat', 'ben']
    for (const name of names) await store.create(name, 'digest')
    const page = async (after: string, limit: number) => (await store.list(after, limit)).map((user) => user.username)
    t.same(await page('', 10), names.toSorted())
    t.same(await page('', 2), ['ann', 'ben'])
    t.same(await page('ben', 2), ['cat', 'dan'])
    t.same(await page('dan', 2), ['eve'])
    t.same(await page('eve', 2), [])
    t.same(await page('bz', 1), ['cat'], 'the name need not exist any more')
    t.same(await page('ann\0', 10), [], 'no user has a NUL in the name')
  })
}

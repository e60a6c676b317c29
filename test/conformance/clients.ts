import type { Test } from 'tap'
import type { ClientStore } from '../../src/clients/store.ts'

/** An empty client store whose time is stepped by the suite. */
export interface OpenedClients {
  readonly store: ClientStore
  now(): number
  advance(seconds: number): void
}

export type OpenClients = () => Promise<OpenedClients>

/** What every client store must do, run over each of them. */
export async function clientStoreSuite(t: Test, open: OpenClients): Promise<void> {
  await t.test('a client is created once, and listed as it was given', async (t) => {
    const { store, now, advance } = await open()
    t.same(await store.list(), [])
    const gateway = await store.create('gateway', 'hash', ['orders.read', 'orders.write'])
    t.same(gateway, {
      id: 'gateway',
      secretHash: 'hash',
      previous: undefined,
      scopes: ['orders.read', 'orders.write'],
      createdAt: now(),
      rotatedAt: now()
    })
    advance(60)
    t.equal(await store.create('gateway', 'another', []), undefined)
    const billing = await store.create('billing', 'hash', [])
    t.match(billing, { scopes: [], createdAt: now() })
    t.same(await store.list(), [billing, gateway], 'by id')
  })

  await t.test('of many that come first at once, one is created', async (t) => {
    const { store } = await open()
    const created = await Promise.all(Array.from({ length: 20 }, (_, each) => store.create('gateway', `${each}`, [])))
    const [winner, ...others] = created.filter((client) => client !== undefined)
    t.same(others, [])
    t.same(await store.list(), [winner])
  })

  await t.test('a client that is created again is not older than the last token of the deleted one', async (t) => {
    const { store, now, advance } = await open()
    await store.create('gateway', 'first', ['a'])
    await store.rotateSecret('gateway', 'second', 3600)
    for (const createdAt of [now() + 1, now() + 2]) {
      t.equal(await store.delete('gateway'), true)
      t.equal(await store.delete('gateway'), false)
      t.equal(await store.rotateSecret('gateway', 'third', 0), false)
      t.same(await store.list(), [])
      const again = await store.create('gateway', 'fourth', ['b'])
      t.match(again, { secretHash: 'fourth', previous: undefined, scopes: ['b'], createdAt })
      t.same(await store.list(), [again])
    }
    advance(60)
    const deletedAt = now()
    await store.delete('gateway')
    t.match(await store.create('gateway', 'fifth', []), { createdAt: deletedAt })
  })

  await t.test('a secret is rotated, and the one before stays for a while', async (t) => {
    const { store, now, advance } = await open()
    await store.create('gateway', 'first', ['a'])
    const other = await store.create('other', 'hash', [])
    const created = now()
    advance(60)
    t.equal(await store.rotateSecret('gateway', 'second', 3600), true)
    const [gateway] = await store.list()
    t.same(gateway, {
      id: 'gateway',
      secretHash: 'second',
      previous: { secretHash: 'first', until: now() + 3600 },
      scopes: ['a'],
      createdAt: created,
      rotatedAt: now()
    })
    advance(60)
    await store.rotateSecret('gateway', 'third', 0)
    t.match(await store.list(), [{ secretHash: 'third', previous: { secretHash: 'second', until: now() } }, other])
    t.equal(await store.rotateSecret('unknown', 'hash', 0), false)
  })

  await t.test('a client that is deleted is gone, and its id is free', async (t) => {
    const { store } = await open()
    await store.create('gateway', 'hash', [])
    t.equal(await store.delete('gateway'), true)
    t.equal(await store.delete('gateway'), false)
    t.same(await store.list(), [])
    t.ok(await store.create('gateway', 'hash', []))
  })
}

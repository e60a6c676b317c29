import type { Test } from 'tap'
import { maxExpiredPerPut, type OneTimeTokenStore } from '../../src/one-time-tokens/store.ts'
import type { OneTimeToken } from '../../src/one-time-tokens/token.ts'

/** An empty store of one-time tokens whose time is stepped by the suite. */
export interface OpenedOneTimeTokens {
  readonly store: OneTimeTokenStore
  /** The same data through connections of another process; the store itself if there is no other process. */
  readonly other: OneTimeTokenStore
  now(): number
  advance(seconds: number): void
}

export type OpenOneTimeTokens = () => Promise<OpenedOneTimeTokens>

const aToken = (changes: Partial<OneTimeToken> = {}): OneTimeToken => ({
  userId: 'ann',
  purpose: 'password_reset',
  hash: 'hash',
  userState: 'state',
  issuerScopes: undefined,
  expiresAt: 2_000_000_000,
  ...changes
})

/** What every store of one-time tokens must do, run over each of them. */
export async function oneTimeTokenStoreSuite(t: Test, open: OpenOneTimeTokens): Promise<void> {
  await t.test('a token is found as it was stored, and taken once, for its purpose only', async (t) => {
    const { store } = await open()
    const token = aToken()
    await store.put(aToken({ hash: 'replaced', issuerScopes: ['keyturn.users', 'keyturn.keys'] }))
    t.same((await store.find('replaced'))?.issuerScopes, ['keyturn.users', 'keyturn.keys'])
    await store.put(token)
    t.same(await store.find('hash'), token)
    t.same(await store.find('hash'), token, 'finding it changes nothing')
    t.equal(await store.take('hash', 'verify'), undefined, 'for another purpose')
    t.equal(await store.take('other', 'password_reset'), undefined)
    t.same(await store.take('hash', 'password_reset'), token)
    t.equal(await store.take('hash', 'password_reset'), undefined)
    t.equal(await store.find('hash'), undefined)
  })

  await t.test('of 100 that take a token at once, in two processes, one gets it', async (t) => {
    const { store, other } = await open()
    for (let round = 0; round < 5; round++) {
      const token = aToken({ hash: `hash ${round}` })
      await store.put(token)
      const taken = await Promise.all(
        Array.from({ length: 100 }, (_, each) => (each % 2 === 0 ? store : other).take(token.hash, token.purpose))
      )
      t.same(
        taken.filter((each) => each !== undefined),
        [token]
      )
    }
  })

  await t.test('a newer token replaces the one of the same user and purpose, and no other', async (t) => {
    const { store } = await open()
    const [first, second] = [
      aToken({ hash: 'first' }),
      aToken({ hash: 'second', userState: 'new', expiresAt: 2e9 + 1 })
    ]
    const [verify, bens] = [aToken({ hash: 'verify', purpose: 'verify' }), aToken({ hash: 'ben', userId: 'ben' })]
    for (const token of [first, verify, bens, second]) await store.put(token)
    t.equal(await store.find('first'), undefined)
    t.equal(await store.take('first', 'password_reset'), undefined)
    for (const token of [second, verify, bens]) t.same(await store.find(token.hash), token)
  })

  await t.test('of many issued at once for one user and purpose, one is left', async (t) => {
    const { store, other } = await open()
    const tokens = Array.from({ length: 20 }, (_, each) => aToken({ hash: `${each}` }))
    await Promise.all(tokens.map((token, each) => (each % 2 === 0 ? store : other).put(token)))
    const left = await Promise.all(tokens.map(({ hash }) => store.find(hash)))
    t.equal(left.filter((each) => each !== undefined).length, 1)
  })

  await t.test('an expired token is neither found nor taken, from the second of its expiry on', async (t) => {
    const { store, now, advance } = await open()
    const token = aToken({ expiresAt: now() + 60 })
    await store.put(token)
    advance(59)
    t.same(await store.find('hash'), token)
    advance(1)
    t.equal(await store.find('hash'), undefined)
    t.equal(await store.take('hash', 'password_reset'), undefined)
  })

  await t.test('expired tokens are deleted as new ones are stored, a few at a time', async (t) => {
    const { store, now, advance } = await open()
    const expired = Array.from({ length: maxExpiredPerPut + 5 }, (_, each) =>
      aToken({ userId: `user ${each}`, hash: `${each}`, expiresAt: now() + 60 })
    )
    for (const token of expired) await store.put(token)
    advance(60)
    /** A clock that was set back shows what is still stored. */
    const countStored = async (): Promise<number> => {
      advance(-60)
      const found = await Promise.all(expired.map(({ hash }) => store.find(hash)))
      advance(60)
      return found.filter((each) => each !== undefined).length
    }
    const valid = aToken({ userId: 'ben', hash: 'ben' })
    await store.put(valid)
    t.equal(await countStored(), 5)
    await store.put(valid)
    t.equal(await countStored(), 0)
    t.same(await store.find('ben'), valid)
  })

  await t.test('all tokens of a user are deleted, and of no other user', async (t) => {
    const { store } = await open()
    const verify = aToken({ hash: 'verify', purpose: 'verify' })
    const bens = aToken({ hash: 'ben', userId: 'ben' })
    for (const token of [aToken(), verify, bens]) await store.put(token)
    await store.deleteOf('ann')
    await store.deleteOf('unknown')
    t.equal(await store.find('hash'), undefined)
    t.equal(await store.find('verify'), undefined)
    t.same(await store.find('ben'), bens)
  })
}

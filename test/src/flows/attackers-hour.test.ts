/* An hour of guessing as fast as one can, in steps of a second: what reaches the hasher, and what the owners notice of it. */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { KeyturnError } from '../../../src/errors.ts'
import { makeCheckCredentials } from '../../../src/flows/credentials.ts'
import { makeTryPassword } from '../../../src/flows/guessing.ts'
import { makeHooks } from '../../../src/flows/hooks.ts'
import type { GuessStore } from '../../../src/passwords/guessing.ts'
import type { PasswordHasher } from '../../../src/passwords/hasher.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { openEmbeddedGuesses } from '../../../src/stores/embedded/guesses.ts'
import { openRedisGuesses } from '../../../src/stores/redis/guesses.ts'
import { makeNames } from '../../../src/stores/redis/names.ts'
import { migrate } from '../../../src/stores/sql/migrate.ts'
import { makeUserStore } from '../../../src/stores/sql/users.ts'
import { makeManualClock } from '../../../src/time.ts'
import { claimRules } from '../../../src/tokens/claims.ts'
import { needsRedis, withoutRedis } from '../../support/needs.ts'
import { stepRedis } from '../../support/stepped-redis.ts'

interface OpenedGuesses {
  readonly store: GuessStore
  advance(seconds: number): Promise<void>
}

interface Caller {
  readonly username: string
  readonly ip: string
}

const config = loadConfig({})
const secret = Buffer.alloc(32, 'secret')
const hooks = makeHooks({}, { rules: claimRules(config), checkUserIsActive: true, failed: () => {} })

/** Accounts with one owner each, who is known at one address. The password of each is `right`. */
const owners = Array.from({ length: 100 }, (_, index) => ({ username: `owner-${index}`, ip: `192.0.2.${index}` }))
const [victim = { username: '', ip: '' }] = owners

async function openLogins(t: Test, { store, advance }: OpenedGuesses) {
  const database = openEmbedded(t.testdir())
  t.teardown(() => database.close())
  await migrate(database)
  const users = makeUserStore(database, makeManualClock())
  for (const { username } of owners)
    await users.create(username, '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g')
  /** How often each account was guessed: a wrong password is its account's name. */
  const guessed = new Map<string, number>()
  const hasher: PasswordHasher = {
    hash: async () => '',
    async verify(password) {
      if (password !== 'right') guessed.set(password, (guessed.get(password) ?? 0) + 1)
      return password === 'right'
    },
    needsRehash: () => false
  }
  const check = makeCheckCredentials({ users, hasher, decoySecret: secret, hooks })
  const tryPassword = makeTryPassword(store, secret, {
    isOn: config.loginBackoff,
    address: config.loginFailuresAddress,
    everybody: config.loginFailuresAll
  })
  /** The status that a login is answered with. */
  const logIn = async ({ username, ip }: Caller, password = username): Promise<number> => {
    try {
      const checked = await tryPassword({ username, ip }, () => check({ username, password }))
      return checked.isRight ? 200 : 401
    } catch (error) {
      if (error instanceof KeyturnError) return error.status
      throw error
    }
  }
  return { logIn, advance, guessed }
}

/** Guesses, as many in each second of an hour; now and then `visitors` log in. What came of it. */
async function anHour(
  { logIn, advance, guessed }: Awaited<ReturnType<typeof openLogins>>,
  aSecond: number,
  guess: (index: number) => Caller,
  visitors: readonly Caller[] = []
) {
  for (const owner of owners) await logIn(owner, 'right')
  const statuses = new Map<number, number>()
  const refused: unknown[] = []
  const visitEvery = visitors.length === 1 ? 300 : 1200
  for (let second = 0; second < 3600; second++) {
    const guesses = Array.from({ length: aSecond }, (_, index) => guess(second * aSecond + index))
    for (const status of await Promise.all(guesses.map((each) => logIn(each))))
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (second % visitEvery === visitEvery - 1) {
      for (const visitor of visitors) {
        const status = await logIn(visitor, 'right')
        if (status !== 200) refused.push({ second, ...visitor, status })
      }
    }
    await advance(1)
  }
  const [hashed, most] = [[...guessed.values()].reduce((a, b) => a + b), Math.max(...guessed.values())]
  const visits = (visitors.length * 3600) / visitEvery
  return {
    statuses: Object.fromEntries(statuses),
    hashed,
    most,
    refused,
    summary: `${3600 * aSecond} guesses, of which ${hashed} reached the hasher, at most ${most} of one account; ${visits} logins of owners, ${refused.length} refused`
  }
}

const anAddress = (index: number): string => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`

/** One account from so many addresses, while its owner logs in. */
async function besiege(t: Test, opened: OpenedGuesses, username: string, addresses: number) {
  const aSecond = addresses === 1 ? 1 : 3
  const guess = (index: number) => ({ username, ip: anAddress(index % addresses) })
  const { summary, hashed, most, statuses, refused } = await anHour(await openLogins(t, opened), aSecond, guess, [
    victim
  ])
  t.comment(summary)
  t.ok(most > 60 && most < 100, `${most} guesses`)
  t.same(statuses, { 401: hashed, 429: 3600 * aSecond - hashed })
  t.same(refused, [], 'the owner logs in at the first try')
  return hashed
}

t.test('embedded', async (t) => {
  const engine = openEmbedded(t.testdir())
  t.teardown(() => engine.close())
  engine.run('pragma synchronous=OFF') // what is counted is not whether it survives the machine
  const open = async (): Promise<OpenedGuesses> => {
    const clock = makeManualClock()
    for (const table of ['keyturn_guesses', 'keyturn_known_sources']) engine.run(`DROP TABLE IF EXISTS ${table}`)
    return { store: await openEmbeddedGuesses(engine, clock), advance: async (seconds) => clock.advance(seconds) }
  }

  await t.test('one account, from one address', async (t) => {
    const guesses = await besiege(t, await open(), victim.username, 1)
    t.equal(await besiege(t, await open(), 'unknown', 1), guesses, 'an unknown name is treated the same')
  })

  await t.test('one account, from 10,000 addresses', async (t) => {
    await besiege(t, await open(), victim.username, 10_000)
  })
})

t.test('Redis', { skip: withoutRedis() }, async (t) => {
  const server = await needsRedis(t)
  const redis = new Redis(server.options)
  t.teardown(() => redis.disconnect())
  let opened = 0
  const open = async (): Promise<OpenedGuesses> => {
    opened += 1
    const prefix = `attack-test-${process.pid}-${opened}:`
    const { readScript, advance } = await stepRedis(redis, prefix)
    return { store: openRedisGuesses(redis, { names: makeNames(prefix), readScript }), advance }
  }

  await t.test('one account, from 10,000 addresses', async (t) => {
    await besiege(t, await open(), victim.username, 10_000)
  })

  await t.test('one account, from the address of its owner', async (t) => {
    const { summary, most } = await anHour(await openLogins(t, await open()), 1, () => victim)
    t.comment(summary)
    t.ok(most > 80 && most < 100, `${most} guesses`)
  })

  await t.test('a hundred accounts in turn, from 10,000 addresses', async (t) => {
    const guess = (index: number) => ({ username: `owner-${index % 100}`, ip: anAddress(index % 10_000) })
    const { summary, most, refused } = await anHour(await openLogins(t, await open()), 3, guess, owners)
    t.comment(summary)
    t.ok(most < 100, `${most} guesses`)
    t.same(refused, [], 'no owner is locked out')
  })
})

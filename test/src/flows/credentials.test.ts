import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { KeyturnError } from '../../../src/errors.ts'
import { makeCheckCredentials } from '../../../src/flows/credentials.ts'
import { makeHooks } from '../../../src/flows/hooks.ts'
import { readDigest } from '../../../src/passwords/digest.ts'
import { makePasswordHasher, type PasswordHasher } from '../../../src/passwords/hasher.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { migrate } from '../../../src/stores/sql/migrate.ts'
import { makeUserStore } from '../../../src/stores/sql/users.ts'
import { makeManualClock } from '../../../src/time.ts'
import { claimRules } from '../../../src/tokens/claims.ts'
import type { UserStore } from '../../../src/users/store.ts'
import type { User } from '../../../src/users/user.ts'

const hasher = makePasswordHasher({ memory: 8, time: 1, parallelism: 1, queue: 64, form: 'argon2id', rehash: true })
const decoySecret = Buffer.alloc(32, 'secret')

const password = 'correct horse \u{e9}\u{1f511}'
const ofDjango = 'pbkdf2_sha256$1000$5LwWfwVdGMJjiO2es7sjrK$L9gqBjrowA/XcLVqrz8hgexqxP+rsgmYD6Z0o9SC2BQ='
const unusable = '!lWsrn1wbiZpBGti08OoHiOnqhg7duLptrbxKzXOj'

async function openUsers(t: Test): Promise<UserStore> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-credentials-'))
  const database = openEmbedded(folder)
  t.teardown(async () => {
    await database.close()
    rmSync(folder, { recursive: true })
  })
  await migrate(database)
  return makeUserStore(database, makeManualClock())
}

/** A hasher that computes nothing, takes no password for the right one, and notes the digests that it is given. */
function aSpy() {
  const digests: (string | undefined)[] = []
  const spy: PasswordHasher = {
    ...hasher,
    async verify(_password, digest) {
      digests.push(digest)
      return false
    }
  }
  return { spy, digests }
}

const hooks = makeHooks({}, { rules: claimRules(loadConfig({})), checkUserIsActive: true, failed: () => {} })

/** What a login at each of these names is verified against. */
async function verifiedAgainst(users: UserStore, names: readonly string[], secret = decoySecret) {
  const { spy, digests } = aSpy()
  const check = makeCheckCredentials({ users, hasher: spy, decoySecret: secret, hooks })
  for (const username of names) await check({ username, password }).catch(() => {})
  return digests
}

const manyNames = (count: number) => Array.from({ length: count }, (_, index) => `unknown ${index}`)

t.test('unknown names cost what users cost, as many of them as there are such users', async (t) => {
  const users = await openUsers(t)
  t.same(await verifiedAgainst(users, ['ann']), [undefined], 'without any user: as a new digest')

  const own = await hasher.hash(password)
  for (let index = 0; index < 200; index++) {
    await users.create(`user ${index}`, index % 10 === 0 ? unusable : index % 10 < 4 ? own : ofDjango)
  }
  const [django, argon2id] = [ofDjango, own].map((digest) => readDigest(digest)?.decoy)
  const drawn = await verifiedAgainst(users, manyNames(500))
  t.same(new Set(drawn), new Set([django, argon2id]), 'the costs of users, and nothing else of them')
  // Two thirds of the readable ones. How far apart the random ids lie makes it vary by some 5 in 100.
  const share = drawn.filter((digest) => digest === django).length / drawn.length
  t.ok(share > 0.4 && share < 0.9, `${share} have the costs of the form that two thirds have`)

  t.same(await verifiedAgainst(users, manyNames(500)), drawn, 'a name costs the same each time')
  const inFullWidth = manyNames(500).map((name) => name.replace('n', '\u{ff4e}'))
  t.same(await verifiedAgainst(users, inFullWidth), drawn, 'in whatever spelling')
  const others = await verifiedAgainst(users, manyNames(500), Buffer.alloc(32, 'another secret'))
  t.notSame(others, drawn, 'and unpredictable without the key')

  t.same(await verifiedAgainst(users, ['user 1', 'user 9']), [own, ofDjango], 'known ones are their own')
})

t.test('an unusable digest costs the same as an unknown name', async (t) => {
  const users = await openUsers(t)
  await users.create('ann', unusable)
  await users.create('ben', ofDjango)
  t.same(await verifiedAgainst(users, ['ann']), [readDigest(ofDjango)?.decoy])
  const all: PasswordHasher = { ...hasher, verify: async () => true }
  const check = makeCheckCredentials({ users, hasher: all, decoySecret, hooks })
  t.match(await check({ username: 'ann', password }), { isRight: false, userId: /./ }, 'even if the decoy matched')
  t.same(await check({ username: 'unknown', password }), { isRight: false, userId: undefined })
})

t.test('a login rehashes the password once, and only if it is correct and the user active', async (t) => {
  const users = await openUsers(t)
  const check = makeCheckCredentials({ users, hasher, decoySecret, hooks })
  const ann = (await users.create('ann', ofDjango)) as User
  const digestOf = async (id: string) => (await users.findById(id))?.passwordHash ?? ''

  const refused = { isRight: false, userId: ann.id }
  t.same(await check({ username: 'ann', password: 'wrong' }), refused)
  await users.setActive(ann.id, false)
  t.same(await check({ username: 'ann', password }), refused)
  t.equal(await digestOf(ann.id), ofDjango)

  await users.setActive(ann.id, true)
  t.match(await check({ username: 'ann', password }), {
    isRight: true,
    user: { id: ann.id },
    outcome: { user_id: ann.id, rehash: 'done' }
  })
  const digest = await digestOf(ann.id)
  t.match(digest, /^\$argon2id\$v=19\$m=8,t=1,p=1\$/)
  t.same(
    await check({ username: 'ann', password }),
    { isRight: true, user: await users.findById(ann.id), outcome: { user_id: ann.id } },
    'nothing is left to be done'
  )
  t.equal(await digestOf(ann.id), digest)
})

t.test('a failed rehash does not fail the login', async (t) => {
  const users = await openUsers(t)
  const ann = (await users.create('ann', ofDjango)) as User
  const login = async (changes: { users?: Partial<UserStore>; hasher?: Partial<PasswordHasher> }) => {
    const parts = {
      users: { ...users, ...changes.users },
      hasher: { ...hasher, ...changes.hasher },
      decoySecret,
      hooks
    }
    const checked = await makeCheckCredentials(parts)({ username: 'ann', password })
    return checked.isRight ? checked.outcome : undefined
  }
  const down = () => Promise.reject(new KeyturnError('STORE_DOWN', { detail: 'gone' }))
  t.same(await login({ users: { replacePasswordHash: down } }), { user_id: ann.id, rehash: 'STORE_DOWN: gone' })
  const busy = () => Promise.reject(new KeyturnError('BUSY', { detail: '64 are waiting' }))
  t.same(await login({ hasher: { hash: busy } }), { user_id: ann.id, rehash: 'BUSY: 64 are waiting' })
  t.equal((await users.findById(ann.id))?.passwordHash, ofDjango)

  const changed: PasswordHasher['hash'] = async (text) => {
    await users.setPassword(ann.id, 'set by somebody else')
    return await hasher.hash(text)
  }
  t.match(await login({ hasher: { hash: changed } }), { rehash: /changed meanwhile/ })
  t.equal((await users.findById(ann.id))?.passwordHash, 'set by somebody else', 'which stays')
})

t.test('what is too long is refused before anything is asked', async (t) => {
  const users = await openUsers(t)
  const { spy, digests } = aSpy()
  const check = makeCheckCredentials({ users, hasher: spy, decoySecret, hooks })
  await t.rejects(check({ username: 'x'.repeat(255), password: 'x'.repeat(1025) }), {
    code: 'FIELDS_INVALID',
    fields: { username: [/254 characters/], password: [/1024 bytes/] }
  })
  t.same(digests, [])
})

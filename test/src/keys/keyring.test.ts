import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Environment, loadConfig } from '../../../src/config/load.ts'
import { type Keys, openKey, openKeyring, publishNext, sealFor } from '../../../src/keys/keyring.ts'
import { seal, unseal } from '../../../src/keys/sealing.ts'
import type { KeyStore } from '../../../src/keys/store.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { makeKeyStore } from '../../../src/stores/sql/keys.ts'
import { migrate } from '../../../src/stores/sql/migrate.ts'
import { makeManualClock } from '../../../src/time.ts'

const secret = 'a secret of at least 32 characters'
const clock = makeManualClock()
const open = async (store: KeyStore, env: Environment = {}, sealedWith = secret): Promise<Keys> =>
  (await openKeyring(loadConfig(env), { store, secret: sealedWith, previousSecret: undefined, clock })).keys()

async function openTables(t: Test) {
  const db = openEmbedded(t.testdir())
  t.teardown(() => db.close())
  await migrate(db)
  return { db, store: makeKeyStore(db) }
}

const openStore = async (t: Test): Promise<KeyStore> => (await openTables(t)).store

t.test('what is sealed opens with the same secret and name only', async (t) => {
  const sealed = seal('private', 'kid', secret)
  t.match(sealed, /^[A-Za-z0-9_-]+$/)
  t.equal(unseal(sealed, 'kid', secret), 'private')
  t.not(seal('private', 'kid', secret), sealed, 'each with its own salt')
  t.equal(unseal(sealed, 'kid', `${secret}.`), undefined)
  t.equal(unseal(sealed, 'other', secret), undefined, 'moved to another row')
  for (let at = 0; at < sealed.length - 1; at++) {
    const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1)
    t.equal(unseal(changed, 'kid', secret), undefined, `changed at ${at}`)
  }
  for (const other of ['', 'x', sealed.slice(0, 40), sealed.slice(0, -4)])
    t.equal(unseal(other, 'kid', secret), undefined)
  t.equal(unseal(seal('', 'kid', secret), 'kid', secret), '')
})

t.test('keys are made once, and sealed where they are kept', async (t) => {
  const store = await openStore(t)
  const first = await open(store)
  t.match(first, { signing: { algorithm: 'ES256' }, refresh: { algorithm: 'HS256' } })
  t.equal(first.jtiSecret.length, 32)
  t.same(await open(store), first, 'the same after a restart')
  const kept = await store.list()
  t.same(kept.map((key) => key.purpose).toSorted(), ['access', 'internal'])
  t.match(kept, [
    { state: 'active', createdAt: clock() },
    { state: 'active', createdAt: clock() }
  ])
  const atRest = JSON.stringify(kept)
  t.notMatch(atRest, 'PRIVATE KEY')
  t.notOk(atRest.includes(first.refresh.privateText))
  t.not(first.refresh.privateText, first.jtiSecret.toString('base64url'), 'each use has a key of its own')
})

t.test('of several that start at once, all have the same keys', async (t) => {
  const store = await openStore(t)
  const [first, ...others] = await Promise.all(Array.from({ length: 4 }, () => open(store)))
  for (const other of others) t.same(other, first)
  t.equal((await store.list()).length, 2)
})

t.test('keys sealed with another secret are a fault of the configuration', async (t) => {
  const store = await openStore(t)
  await open(store)
  const other = 'another secret of at least 32 characters'
  await t.rejects(open(store, {}, other), { name: 'ConfigError', message: /^KEY_ENCRYPTION_SECRET: cannot decrypt/ })
  t.equal((await store.list()).length, 2, 'and nothing was made beside them')
})

t.test(
  'a key does not open after its row was changed: its state, purpose and algorithm are sealed with it',
  async (t) => {
    const { db, store } = await openTables(t)
    const options = { store, secret, previousSecret: undefined, clock }
    const keyring = await openKeyring(loadConfig({}), options)
    const stolen = keyring.keys().signing.kid
    await publishNext(options)
    const next = (await store.list()).find(({ state }) => state === 'next')?.kid ?? ''
    t.ok(await store.activate(next, clock(), sealFor(options)))
    t.ok(await keyring.update(), 'an activation seals both keys again')
    t.equal(keyring.keys().signing.kid, next)

    const retired = (await store.list()).find(({ kid }) => kid === stolen)
    if (retired === undefined) throw new Error('there is no retired key')
    t.equal(openKey(retired, options).kid, stolen)
    const changes = [{ state: 'active' }, { state: 'next' }, { purpose: 'internal' }, { algorithm: 'ES384' }] as const
    for (const change of changes)
      t.throws(() => openKey({ ...retired, ...change }, options), { name: 'ConfigError' }, JSON.stringify(change))
    t.throws(() => openKey({ ...retired, sealed: retired.sealed.slice(3) }, options), { name: 'ConfigError' })

    db.run("UPDATE keyturn_keys SET state = 'retired' WHERE kid = $1", [next])
    db.run("UPDATE keyturn_keys SET state = 'active' WHERE kid = $1", [stolen])
    await t.rejects(keyring.update(), { name: 'ConfigError' }, 'a service that runs does not take it over')
    t.equal(keyring.keys().signing.kid, next)
    await t.rejects(open(store), { name: 'ConfigError' }, 'and none starts with it')
  }
)

t.test('keys that an older version sealed stay readable to it until they change state', async (t) => {
  const { store } = await openTables(t)
  const first = await open(store)
  const options = { store, secret, previousSecret: undefined, clock }
  for (const key of await store.list()) {
    await store.reseal(key, seal(openKey(key, options).privateText, key.kid, secret))
  }
  const before = await store.list()
  t.same(await open(store), first)
  t.same(await store.list(), before, 'a start changes no row: the older version still runs beside this one')

  await publishNext(options)
  const next = (await store.list()).find(({ state }) => state === 'next')?.kid ?? ''
  await store.activate(next, clock(), sealFor(options))
  const retired = (await store.list()).find(({ state }) => state === 'retired')
  t.match(retired?.sealed, /^v2\./, 'a change of state binds the key to it')
  t.equal((await open(store)).signing.kid, next)
})

t.test('a secret that is given signs both kinds; the jti stays ours alone', async (t) => {
  const store = await openStore(t)
  const SIGNING_KEY = 's'.repeat(32)
  const keyring = await open(store, { SIGNING_KEY })
  t.equal(keyring.signing.privateText, SIGNING_KEY)
  t.same(keyring.refresh, keyring.signing)
  t.not(keyring.jtiSecret.toString(), SIGNING_KEY)
  t.same(
    (await store.list()).map((key) => key.purpose),
    ['internal']
  )
})

t.test('a key pair that is given signs access tokens only', async (t) => {
  const store = await openStore(t)
  const { privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' }
  })
  const keyring = await open(store, { SIGNING_KEY: privateKey, ALGORITHM: 'EdDSA' })
  t.match(keyring, { signing: { algorithm: 'EdDSA', privateText: privateKey }, refresh: { algorithm: 'HS256' } })
  t.same((await open(store, { SIGNING_KEY: privateKey, ALGORITHM: 'EdDSA' })).refresh, keyring.refresh)
})

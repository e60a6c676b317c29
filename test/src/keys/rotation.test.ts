/* planRotation: a table of what is due, then two hosts that rotate as they please, at random. */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import type { Config } from '../../../src/config/settings.ts'
import { type KeyringOptions, openKeyring, publishNext, rotationPolicy } from '../../../src/keys/keyring.ts'
import { planRotation, type RotationPolicy } from '../../../src/keys/rotation.ts'
import type { KeyStore, StoredKey } from '../../../src/keys/store.ts'
import { makeManualClock } from '../../../src/time.ts'

const policy: RotationPolicy = { interval: 1000, publishAhead: 100, keepRetired: 300 }

const aKey = (state: StoredKey['state'], at: number, changes: Partial<StoredKey> = {}): StoredKey => ({
  kid: state,
  purpose: 'access',
  algorithm: 'ES256',
  state,
  sealed: '',
  createdAt: at,
  activatedAt: state === 'next' ? undefined : at,
  retiredAt: state === 'retired' ? at : undefined,
  ...changes
})

t.test('what is due', async (t) => {
  const publish = { kind: 'publish' }
  const activate = { kind: 'activate', kid: 'next' }
  const drop = { kind: 'drop', kid: 'retired' }
  const rows: readonly (readonly [name: string, keys: readonly StoredKey[], now: number, steps: readonly object[]])[] =
    [
      ['a fresh key', [aKey('active', 0)], 0, []],
      ['the last second before the next one', [aKey('active', 0)], 899, []],
      ['the next one, in time to be known', [aKey('active', 0)], 900, [publish]],
      ['after a pause of the whole service', [aKey('active', 0)], 50_000, [publish]],
      ['published, not known everywhere yet', [aKey('active', 0), aKey('next', 900)], 999, []],
      ['known everywhere', [aKey('active', 0), aKey('next', 900)], 1000, [activate]],
      ['published by hand, long before its time', [aKey('active', 0), aKey('next', 10)], 110, [activate]],
      ['by hand, not yet', [aKey('active', 0), aKey('next', 10)], 109, []],
      ['a next key, and the active one is overdue', [aKey('active', 0), aKey('next', 5000)], 5050, []],
      ['retired, its last token may live', [aKey('active', 0), aKey('retired', 500)], 799, []],
      ['retired, its last token has expired', [aKey('active', 0), aKey('retired', 500)], 800, [drop]],
      ['all at once', [aKey('retired', 0), aKey('next', 900), aKey('active', 0)], 1000, [activate, drop]],
      [
        'two that are retired',
        [aKey('active', 600), aKey('retired', 0), aKey('retired', 500, { kid: 'b' })],
        700,
        [drop]
      ],
      ['no active key at all is not for this plan', [aKey('retired', 600)], 700, []],
      [
        'other purposes are none of its business',
        [aKey('active', 0, { purpose: 'internal' }), aKey('active', 800)],
        1000,
        []
      ],
      ['an active key without a time of activation', [aKey('active', 0, { activatedAt: undefined })], 5000, []]
    ]
  for (const [name, keys, now, steps] of rows) t.same(planRotation(keys, now, policy), steps, name)
})

t.test('the policy that follows from the settings', async (t) => {
  const policyOf = (env: Record<string, string>) => rotationPolicy(loadConfig(env))
  const sliding = { SLIDING_TOKEN_LIFETIME: '12h', ACCESS_TOKEN_LIFETIME: '5m' }
  const withSliding = policyOf({ ...sliding, SLIDING_TOKENS: 'true' }).keepRetired
  t.equal(withSliding - policyOf(sliding).keepRetired, 12 * 3600 - 300, 'as long as a sliding token lives')
  t.match(policyOf({}), { interval: 30 * 86_400, publishAhead: 1205 })
  t.ok(policyOf({}).keepRetired >= 300 + 2 * 600)
  const short = policyOf({ JWKS_MAX_AGE: '1s', KEY_ROTATION_INTERVAL: '1m', LEEWAY: '7', ACCESS_TOKEN_LIFETIME: '60' })
  t.match(short, { interval: 60, publishAhead: 7 })
  t.ok(short.keepRetired >= 60 + 7 + 2 + seconds, 'a worker that follows late may sign with a key that is retired')
})

/** How long a worker may be behind the store: it looks every two seconds. */
const seconds = 5

/** A key store in memory that remembers what it was at every moment. */
function openMemory(
  now: () => number
): KeyStore & { readonly history: (readonly [at: number, keys: readonly StoredKey[]])[] } {
  let keys: readonly StoredKey[] = []
  const history: [number, readonly StoredKey[]][] = []
  const set = (next: readonly StoredKey[]): void => {
    keys = next
    history.push([now(), next])
  }
  const change = (kid: string, changes: Partial<StoredKey>): readonly StoredKey[] =>
    keys.map((key) => (key.kid === kid ? { ...key, ...changes } : key))
  return {
    history,
    list: async () => keys,
    async addFirst(key) {
      const isFirst = !keys.some(({ purpose, state }) => purpose === key.purpose && state === key.state)
      if (isFirst) set([...keys, key])
      return isFirst
    },
    async activate(kid, at, sealFor) {
      const next = keys.find((key) => key.kid === kid && key.state === 'next')
      if (next === undefined) return false
      const to = (key: StoredKey, state: StoredKey['state']) => ({ ...key, state, sealed: sealFor(key, state) })
      const retired = keys.map((key) =>
        key.purpose === next.purpose && key.state === 'active' ? { ...to(key, 'retired'), retiredAt: at } : key
      )
      set(retired.map((key) => (key.kid === kid ? { ...to(key, 'active'), activatedAt: at } : key)))
      return true
    },
    async drop(kid) {
      set(keys.filter((key) => key.kid !== kid))
      return true
    },
    reseal: async ({ kid }, sealed) => set(change(kid, { sealed }))
  }
}

t.test('hosts that rotate whenever they like', async (t) => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ act: fc.constant('look' as const), host: fc.nat(2), wait: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant('rotate' as const), host: fc.nat(2), wait: fc.nat(30) }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant('pause' as const), host: fc.nat(2), wait: fc.nat(400) }) }
  )
  const settings = fc.record({
    jwksMaxAge: fc.integer({ min: 1, max: 20 }),
    keyRotationInterval: fc.integer({ min: 60, max: 120 }),
    accessTokenLifetime: fc.integer({ min: 1, max: 60 }),
    leeway: fc.nat(5)
  })
  let rotations = 0
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { minLength: 20, maxLength: 120 }), async (changes, steps) => {
      const config: Config = { ...loadConfig({}), ...changes }
      const clock = makeManualClock(1000)
      const store = openMemory(clock)
      const options: KeyringOptions = { store, secret: 'x'.repeat(32), previousSecret: undefined, clock }
      const hosts = [
        await openKeyring(config, options),
        await openKeyring(config, options),
        await openKeyring(config, options)
      ]
      for (const { act, host, wait } of steps) {
        clock.advance(wait)
        if (act === 'rotate') await publishNext(options)
        else await hosts[host]?.update()
      }
      rotations += checkHistory(t, store.history, config)
    }),
    { numRuns: 150 }
  )
  t.ok(rotations > 100, `${rotations} rotations`)
  t.comment(`${rotations} rotations`)
})

/** Looks through all that the store ever was; gives the number of rotations. */
function checkHistory(t: Test, history: readonly (readonly [number, readonly StoredKey[]])[], config: Config): number {
  const { jwksMaxAge, accessTokenLifetime, leeway } = config
  const faults: string[] = []
  const access = history
    .map(([at, keys]) => [at, keys.filter(({ purpose }) => purpose === 'access')] as const)
    .filter(([, keys]) => keys.length > 0)
  for (const [at, keys] of access) {
    const count = (state: StoredKey['state']): number => keys.filter((key) => key.state === state).length
    if (count('active') !== 1) faults.push(`${count('active')} active keys at ${at}`)
    if (count('next') > 1) faults.push(`${count('next')} next keys at ${at}`)
  }
  const first = access[0]?.[0] ?? 0
  const kids = new Set(access.flatMap(([, keys]) => keys.map(({ kid }) => kid)))
  for (const kid of kids) {
    // A state lasts until the one after it.
    const spans = access.map(([at, keys], index) => ({
      at,
      until: access[index + 1]?.[0],
      key: keys.find((key) => key.kid === kid)
    }))
    const published = spans.find(({ key }) => key !== undefined)?.at ?? 0
    const signing = spans.filter(({ key }) => key?.state === 'active')
    const signs = signing[0]?.at
    // A verifier's JWKS is up to max-age old, and so is what a cache gave it; the worker that served it was behind by seconds.
    if (signs !== undefined && published > first && signs < published + 2 * jwksMaxAge + seconds)
      faults.push(`${kid} signed ${signs - published} s after it was published`)
    const signedLast = signing.at(-1)?.until
    const dropped = spans.find(({ at, key }) => key === undefined && at > published)?.at
    if (dropped === undefined) continue
    // A worker that is behind signs with it a little longer.
    if (signedLast === undefined) faults.push(`${kid} went without having been retired`)
    else if (dropped < signedLast + seconds + accessTokenLifetime + leeway)
      faults.push(`${kid} went ${dropped - signedLast} s after it signed for the last time`)
  }
  if (faults.length > 0) t.fail(faults.join('; '))
  return kids.size - 1
}

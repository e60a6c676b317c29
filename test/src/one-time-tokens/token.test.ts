import t from 'tap'
import {
  hashOneTimeToken,
  makeOneTimeToken,
  oneTimePurposes,
  parseOneTimeLifetime,
  parseOneTimePurpose,
  userState
} from '../../../src/one-time-tokens/token.ts'

const user = { id: 'ann', passwordHash: 'digest', isActive: true, claims: {} }
const now = 1_700_000_000

t.test('a token has 256 random bits, and only its hash is stored', async (t) => {
  const tokens = Array.from({ length: 100 }, () => makeOneTimeToken(user, 'verify', { now }))
  t.equal(new Set(tokens.map(({ token }) => token)).size, 100)
  for (const { token, stored } of tokens) {
    t.equal(Buffer.from(token, 'base64url').length, 32)
    t.equal(stored.hash, hashOneTimeToken(token))
    t.notMatch(JSON.stringify(stored), token)
    t.notMatch(JSON.stringify(stored), user.passwordHash)
  }
})

t.test('a token lives for an hour or a day according to its purpose, or as long as its issuer chooses', async (t) => {
  const lifetimes = oneTimePurposes.map((purpose) => makeOneTimeToken(user, purpose, { now }).stored.expiresAt - now)
  t.same(lifetimes, [3600, 86_400, 86_400])
  t.equal(makeOneTimeToken(user, 'invite', { now, lifetime: 60 }).stored.expiresAt, now + 60)
})

t.test('a lifetime is between a second and a day', async (t) => {
  const cases = [
    ['1', 1],
    ['15m', 900],
    ['86400', 86_400],
    ['1d', 86_400],
    ['0', undefined],
    ['86401', undefined],
    ['2d', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['', undefined]
  ] as const
  for (const [text, lifetime] of cases) t.equal(parseOneTimeLifetime(text), lifetime, text)
})

t.test('a purpose is one of three names', async (t) => {
  for (const purpose of oneTimePurposes) t.equal(parseOneTimePurpose(purpose), purpose)
  for (const text of ['', 'Verify', 'toString']) t.equal(parseOneTimePurpose(text), undefined, text)
})

t.test("the user's state changes with the password, the activation and the scope, and with nothing else", async (t) => {
  const state = userState(user)
  t.equal(userState({ ...user, id: 'ben' } as typeof user), state)
  t.not(userState({ ...user, passwordHash: 'another' }), state)
  t.equal(userState({ ...user, claims: { plan: 'large' } }), state)
  t.not(userState({ ...user, isActive: false }), state)
  const admin = userState({ ...user, claims: { scope: 'keyturn.admin' } })
  t.not(admin, state)
  t.not(userState({ ...user, claims: { scope: 'keyturn.admin orders' } }), admin)
})

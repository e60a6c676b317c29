import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import {
  buildClaims,
  buildClientClaims,
  type Claims,
  checkClaims,
  claimRules,
  demandType,
  isOfType,
  reservedClaims
} from '../../../src/tokens/claims.ts'

const now = 1_700_000_000
const user = { id: '7', passwordHash: 'digest' }

const rulesOf = (env: Record<string, string> = {}) => claimRules(loadConfig(env))

/** A valid payload, but for `changes`; undefined takes a claim away. */
const aPayload = (changes: Record<string, unknown> = {}) => ({
  token_type: 'access',
  exp: now + 60,
  iat: now,
  jti: 'a',
  user_id: '7',
  sid: 'b',
  ...changes
})

const check = (changes: Record<string, unknown> = {}, env: Record<string, string> = {}): Claims =>
  checkClaims(aPayload(changes), now, rulesOf(env))

/** The code of the refusal; undefined when there is none. */
function refusalOf(changes: Record<string, unknown>, env: Record<string, string> = {}): string | undefined {
  try {
    check(changes, env)
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

t.test('checkClaims: a token is refused from the second of its expiry on, later by LEEWAY', async (t) => {
  t.equal(refusalOf({ exp: now + 1 }), undefined)
  t.equal(refusalOf({ exp: now }), 'TOKEN_EXPIRED')
  t.equal(refusalOf({ exp: now + 0.5 }), undefined, 'fractions count')
  t.equal(refusalOf({ exp: now - 9 }, { LEEWAY: '10' }), undefined)
  t.equal(refusalOf({ exp: now - 10 }, { LEEWAY: '10' }), 'TOKEN_EXPIRED')
})

t.test(
  'checkClaims: an id with a NUL or half of a surrogate pair is invalid, since PostgreSQL cannot hold it',
  async (t) => {
    for (const id of ['a\0', '\ud800', 'a\udc00b'])
      for (const name of ['jti', 'user_id', 'sid', 'sub'])
        t.equal(refusalOf({ [name]: id }), 'TOKEN_INVALID', `${name}: ${JSON.stringify(id)}`)
    t.equal(refusalOf({ jti: 'ü', user_id: '😀' }), undefined)
  }
)

t.test('checkClaims: nbf and iat may not be in the future, but for the skew of clocks', async (t) => {
  t.equal(refusalOf({ nbf: now }), undefined)
  t.equal(refusalOf({ nbf: now + 1 }), 'TOKEN_INVALID')
  t.equal(refusalOf({ nbf: now + 1 }, { LEEWAY: '1' }), undefined)
  t.equal(refusalOf({ iat: now + 5 }), undefined)
  t.equal(refusalOf({ iat: now + 6 }), 'TOKEN_INVALID')
  t.equal(refusalOf({ iat: undefined }), undefined, 'iat is optional')
})

t.test('checkClaims: a claim of a wrong type is refused before anything else', async (t) => {
  const wrong: readonly Record<string, unknown>[] = [
    ...[
      { exp: '1' },
      { exp: null },
      { exp: Number.POSITIVE_INFINITY },
      { exp: 253_402_300_800 },
      { iat: '1' },
      { nbf: true }
    ],
    ...[{ jti: 1 }, { sub: 7 }, { iss: 1 }, { aud: 1 }, { aud: ['a', 1] }],
    ...[{ sid: 1 }, { gen: -1 }, { gen: 0.5 }, { gen: 2 ** 32 - 1 }, { gen: '0' }],
    ...[{ user_id: 0.5 }, { user_id: null }, { user_id: 2 ** 53 }, { token_type: 'sliding', refresh_exp: 'x' }],
    ...[{ token_type: 'sliding', refresh_exp: 253_402_300_800 }]
  ]
  for (const changes of wrong)
    t.equal(refusalOf({ exp: now - 1, ...changes }), 'TOKEN_INVALID', JSON.stringify(changes))
})

t.test('checkClaims: faults are found in the order in which Simple JWT finds them', async (t) => {
  t.equal(refusalOf({ exp: now, jti: undefined }), 'TOKEN_EXPIRED')
  t.equal(refusalOf({ exp: undefined, jti: undefined }), 'TOKEN_NO_EXPIRY')
  t.equal(refusalOf({ jti: undefined }), 'TOKEN_NO_ID')
  t.equal(refusalOf({ jti: undefined }, { JTI_CLAIM: 'none' }), undefined)
})

t.test('checkClaims: ISSUER and AUDIENCE are demanded where they are set', async (t) => {
  const issuer = { ISSUER: 'https://id.example.com' }
  t.equal(refusalOf({ iss: 'anything' }), undefined)
  t.equal(refusalOf({ iss: 'https://id.example.com' }, issuer), undefined)
  t.equal(refusalOf({ iss: 'https://id.example.com/' }, issuer), 'TOKEN_INVALID')
  t.equal(refusalOf({}, issuer), 'TOKEN_INVALID')
  const audience = { AUDIENCE: 'shop,blog' }
  for (const aud of ['shop', ['x', 'blog']]) t.equal(refusalOf({ aud }, audience), undefined)
  for (const aud of ['x', [], undefined]) t.equal(refusalOf({ aud }, audience), 'TOKEN_INVALID', `${aud}`)
})

t.test('checkClaims: a numeric user_id is its text, and a client’s own token has no user', async (t) => {
  t.equal(check({ user_id: 7 }).user_id, '7')
  t.match(check({ client_id: 'billing', sub: 'billing' }), { client_id: 'billing', user_id: undefined })
  t.match(check({ client_id: 'keyturn', sub: 'keyturn' }), { client_id: undefined, user_id: '7' }, 'RFC 9068 profile')
  t.match(check({ client_id: 'billing', sub: '7' }), { client_id: undefined, user_id: '7' })
})

t.test('checkClaims: claims are read under the names that the settings give them', async (t) => {
  const env = { TOKEN_TYPE_CLAIM: 'typ', JTI_CLAIM: 'id', USER_ID_CLAIM: 'uid' }
  t.match(check({ typ: 'refresh', id: 'x', uid: '8' }, env), { token_type: 'refresh', jti: 'x', user_id: '8' })
  t.equal(refusalOf({}, env), 'TOKEN_NO_ID', 'not under the usual ones')
})

t.test('demandType: the type decides, and without one whether the token has claims of another kind', async (t) => {
  const rules = rulesOf()
  const refusal = (changes: Record<string, unknown>) => () => demandType(check(changes), 'access', rules)
  t.doesNotThrow(refusal({}))
  t.throws(refusal({ token_type: 'refresh' }), { code: 'TOKEN_WRONG_TYPE' })
  t.throws(refusal({ token_type: undefined }), { code: 'TOKEN_NO_TYPE' })
  const lenient = rulesOf({ TOKEN_TYPE_CLAIM: 'none' })
  const isAccess = (changes: Record<string, unknown>) =>
    isOfType(checkClaims(aPayload({ token_type: undefined, ...changes }), now, lenient), 'access', lenient)
  t.equal(isAccess({}), true)
  t.equal(isAccess({ gen: 0 }), false)
  t.equal(isAccess({ refresh_exp: now }), false)
})

t.test('buildClaims: claims come in the order of Simple JWT, aud and iss last', async (t) => {
  const env = { ISSUER: 'https://id.example.com', AUDIENCE: 'shop', CHECK_REVOKE_TOKEN: 'true' }
  const facts = { token_type: 'refresh', exp: now + 60, iat: now, jti: 'a', user, sid: 'b', gen: 0 } as const
  const claims = buildClaims(facts, rulesOf(env), { role: 'admin' })
  const names = ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid', 'gen', 'hash_password', 'role', 'aud', 'iss']
  t.same(Object.keys(claims), names)
  t.match(checkClaims({ ...claims }, now, rulesOf(env)), { token_type: 'refresh', gen: 0, user_id: '7', sid: 'b' })
  t.match(buildClaims(facts, rulesOf({ AUDIENCE: 'shop,blog' })), { aud: ['shop', 'blog'], iss: undefined })
})

t.test('buildClientClaims: the subject is the client, and an empty scope is left out', async (t) => {
  const facts = { exp: now + 60, iat: now, jti: 'a', clientId: 'billing', scopes: ['a', 'b'] }
  const claims = buildClientClaims(facts, rulesOf())
  t.match(checkClaims({ ...claims }, now, rulesOf()), { client_id: 'billing', scope: 'a b', user_id: undefined })
  t.notOk('scope' in buildClientClaims({ ...facts, scopes: [] }, rulesOf()))
})

t.test(
  'reservedClaims: custom claims cannot take the name of a claim of Keyturn, whatever the settings call it',
  async (t) => {
    const reserved = reservedClaims(rulesOf({ USER_ID_CLAIM: 'uid' }).names)
    for (const name of ['exp', 'sid', 'gen', 'sub', 'iss', 'client_id', 'uid', 'jti', '__proto__'])
      t.ok(reserved.has(name), name)
    t.notOk(reserved.has('role'))
  }
)

/* One entry of a dump: the user in it, or every reason why there is none. */
import t from 'tap'
import { claimNames } from '../../../src/config/claim-names.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { claimsFault } from '../../../src/tokens/custom.ts'
import { headerFault, type ImportOptions, type Reading, readUser } from '../../../src/users/import.ts'
import { aDigest, aDjangoUser } from '../../support/dump.ts'

const options: ImportOptions = {
  model: 'auth.user',
  usernameField: 'username',
  claimFields: [],
  claimsFault: (claims) => claimsFault(claims, claimNames(loadConfig({})))
}

const read = (entry: unknown, changes: Partial<ImportOptions> = {}): Reading =>
  readUser(entry, { ...options, ...changes })

/** A row of CSV or NDJSON, by Django's columns. */
const aRow = (changes: Readonly<Record<string, unknown>> = {}) => ({
  id: '7',
  username: 'ann',
  password: aDigest,
  ...changes
})

const userOf = (entry: unknown, changes?: Partial<ImportOptions>) => {
  const reading = read(entry, changes)
  return reading.kind === 'user' ? reading.user : reading
}

const reasonOf = (entry: unknown, changes?: Partial<ImportOptions>) => {
  const reading = read(entry, changes)
  return reading.kind === 'refused' ? reading.reason : reading
}

t.test('an entry of dumpdata', async (t) => {
  t.same(
    userOf(aDjangoUser(7, { username: 'ann', last_login: '2024-01-31T23:59:59.999999+02:00', is_active: false })),
    {
      id: '7',
      username: 'ann',
      passwordHash: aDigest,
      isActive: false,
      createdAt: Date.parse('2023-05-04T12:34:56Z') / 1000,
      lastLoginAt: Date.parse('2024-01-31T21:59:59Z') / 1000,
      claims: undefined
    }
  )
  t.match(userOf(aDjangoUser('5f0c'.repeat(8))), { id: '5f0c'.repeat(8) }, 'a key of text')
  t.match(userOf(aDjangoUser(7), { model: 'Auth.User' }), { id: '7' }, 'as dumpdata takes a label')
  t.same(read({ ...aDjangoUser(7), model: 'auth.group' }), { kind: 'other', model: 'auth.group' })
  t.same(read(aDjangoUser(7), { model: 'accounts.user' }), { kind: 'other', model: 'auth.user' })
  const custom = { model: 'accounts.user', pk: 7, fields: { email: 'a@example.com', password: aDigest } }
  t.same(
    userOf(custom, { model: 'accounts.user', usernameField: 'email' }),
    {
      id: '7',
      username: 'a@example.com',
      passwordHash: aDigest,
      isActive: undefined,
      createdAt: undefined,
      lastLoginAt: undefined,
      claims: undefined
    },
    'a model of one\u2019s own, that has little'
  )
  const { pk, ...natural } = aDjangoUser(7)
  t.match(reasonOf(natural), /no pk.*without --natural-primary/)
  t.match(reasonOf({ ...natural, pk: null }), /no pk/)
})

t.test('a row by Keyturn\u2019s columns, or by Django\u2019s', async (t) => {
  const own = {
    id: 'a-b',
    username: 'ann',
    password_hash: '!',
    is_active: false,
    created_at: '2026-01-31T12:00:00Z',
    last_login_at: null,
    claims: { role: 'admin' }
  }
  const user = { id: 'a-b', username: 'ann', passwordHash: '!', isActive: false, createdAt: 1_769_860_800 }
  t.same(userOf(own), { ...user, lastLoginAt: undefined, claims: { role: 'admin' } })
  const texts = { ...own, is_active: 'false', last_login_at: '', claims: '{"role":"admin"}' }
  t.same(userOf(texts), userOf(own), 'the same in CSV')
  t.match(
    userOf(aRow({ password: 'no digest', password_hash: '!' })),
    { passwordHash: '!' },
    'our own name comes first'
  )
  const psql = { is_active: 't', date_joined: '2026-01-31 13:00:00.5+01', last_login: '2026-01-31 12:00:00' }
  t.match(userOf(aRow(psql)), { isActive: true, createdAt: 1_769_860_800, lastLoginAt: 1_769_860_800 })
})

t.test('what is not said is left open, but for a name and a password', async (t) => {
  for (const nothing of [undefined, null, '']) {
    const names = ['id', 'is_active', 'date_joined', 'last_login', 'claims']
    const row = aRow(Object.fromEntries(names.map((name) => [name, nothing])))
    t.match(userOf(row), { id: undefined, isActive: undefined, createdAt: undefined, lastLoginAt: undefined })
    t.equal(reasonOf(aRow({ username: nothing })), 'username is missing')
  }
  t.equal(reasonOf(aRow({ password: undefined })), 'password is missing')
  const { password, ...without } = aRow()
  t.equal(reasonOf(without), 'password_hash is missing')
  for (const none of ['', null])
    t.match(userOf(aRow({ password: none })), { passwordHash: '' }, 'no password was ever set')
})

t.test('ids', async (t) => {
  for (const [id, text] of [
    [1, '1'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    ['9007199254740993', '9007199254740993'],
    ['007', '007'],
    ['~'.repeat(128), '~'.repeat(128)]
  ])
    t.match(userOf(aRow({ id })), { id: text })
  for (const id of [JSON.parse('9007199254740993'), 1.5, Number.POSITIVE_INFINITY])
    t.equal(reasonOf(aRow({ id })), 'id is not an integer that JSON represents exactly: export the table as CSV')
  for (const id of ['~'.repeat(129), 'a b', 'ä', 'a\n', '\0', true, [], {}])
    t.match(reasonOf(aRow({ id })), /^id is not a number or a string of 1 to 128 visible ASCII characters$/)
})

t.test('names', async (t) => {
  t.match(userOf(aRow({ username: '\u{ff21}nn\u{212b}' })), { username: 'Ann\u{c5}' })
  t.match(userOf(aRow({ username: 'x'.repeat(254) })), { username: 'x'.repeat(254) })
  for (const username of [' ann', 'ann ', 'a\nb', 'a\0b', '\ud800', 'x'.repeat(255), '\u3000'])
    t.match(reasonOf(aRow({ username })), /^username cannot be used: It must [^.]*$/)
  for (const username of [7, true, ['ann'], {}]) t.equal(reasonOf(aRow({ username })), 'username is not a string')
})

t.test('a plaintext password is refused, and not repeated', async (t) => {
  for (const password of ['hunter2', 'my_hasher$1$salt$hunter2', 7, { hunter2: 1 }]) {
    t.match(reasonOf(aRow({ password })), /^password is not a digest of Django or Keyturn/)
    t.notMatch(JSON.stringify(read(aRow({ password }))), 'hunter2')
  }
})

t.test('flags and times', async (t) => {
  for (const yes of [true, 1, '1', 't', 'T', 'true', 'True', 'TRUE'])
    t.match(userOf(aRow({ is_active: yes })), { isActive: true }, String(yes))
  for (const no of [false, 0, '0', 'f', 'False'])
    t.match(userOf(aRow({ is_active: no })), { isActive: false }, String(no))
  for (const other of ['yes', 2, [], ' t'])
    t.equal(reasonOf(aRow({ is_active: other })), 'is_active is neither true nor false')
  const times: readonly (readonly [text: string, iso: string])[] = [
    ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00Z'],
    ['2026-01-31T12:00:00.999', '2026-01-31T12:00:00Z'],
    ['2026-01-31 12:00:00-05:30', '2026-01-31T17:30:00Z'],
    ['2026-01-31 12:00:00 +0100', '2026-01-31T11:00:00Z'],
    ['1969-12-31T23:59:59Z', '1969-12-31T23:59:59Z'],
    ['0001-01-01T00:00:00+00:00', '0001-01-01T00:00:00Z']
  ]
  for (const [text, iso] of times)
    t.match(userOf(aRow({ date_joined: text })), { createdAt: Date.parse(iso) / 1000 }, text)
  for (const other of [
    '2026-01-31',
    '31.01.2026 12:00:00',
    '2026-13-31T12:00:00Z',
    '2026-01-31T25:00:00Z',
    1_769_860_800,
    'now'
  ])
    t.equal(
      reasonOf(aRow({ date_joined: other })),
      'date_joined is not a time such as 2026-01-31T12:00:00Z',
      String(other)
    )
})

t.test('claims', async (t) => {
  const claims = (changes: object, ...claimFields: string[]) => {
    const reading = userOf(aRow({ ...changes }), { claimFields })
    return 'claims' in reading ? reading.claims : reading
  }
  t.same(claims({ email: 'a@example.com' }), undefined, 'none but those that were asked for')
  t.same(claims({ email: 'a@example.com', is_staff: false }, 'email', 'is_staff', 'none'), {
    email: 'a@example.com',
    is_staff: false
  })
  t.same(claims({ claims: { role: 'a', email: 1 }, email: 'b' }, 'email'), { role: 'a', email: 'b' })
  t.same(claims({ email: '' }, 'email'), undefined)
  t.match(reasonOf(aRow({ exp: 1 }), { claimFields: ['exp'] }), /^claims cannot be used: the claim exp is Keyturn/)
  t.match(reasonOf(aRow({ claims: { a: 'x'.repeat(3000) } })), /longer than 2048 bytes/)
  for (const other of ['[]', '7', '{', 7, [], true])
    t.equal(reasonOf(aRow({ claims: other })), 'claims are not a JSON object')
})

t.test('a row is refused with all its faults, and with who it is', async (t) => {
  t.same(read(aRow({ password: 'x', is_active: 'x', date_joined: 'x' })), {
    kind: 'refused',
    id: '7',
    username: 'ann',
    reason:
      'password is not a digest of Django or Keyturn: replace it with ! to import the user without a password; ' +
      'is_active is neither true nor false; date_joined is not a time such as 2026-01-31T12:00:00Z'
  })
  for (const other of [7, 'x', null, true, []]) t.same(read(other), { kind: 'refused', reason: 'is not an object' })
  t.match(reasonOf({}), /username is missing; password_hash is missing/)
  t.match(reasonOf(JSON.parse('{"__proto__": {"username": "ann", "password": "!"}}')), /username is missing/)
})

t.test('a header', async (t) => {
  t.equal(headerFault(['password', 'id', 'username'], options), undefined)
  t.equal(headerFault(['username', 'password_hash'], options), undefined)
  t.match(headerFault(['id', 'username'], options), /column password_hash or password/)
  t.match(headerFault(['email', 'password'], options), /column username\.$/)
  t.equal(headerFault(['email', 'password'], { ...options, usernameField: 'email' }), undefined)
})

import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { isCommon } from '../../../src/passwords/common.ts'
import { maxPasswordBytes, passwordFault, passwordPolicy } from '../../../src/passwords/policy.ts'

const policy = passwordPolicy(loadConfig({}))

t.test('what may be set', async (t) => {
  for (const password of [
    'a horse!',
    'inner spaces are fine',
    '\u{1f511}\u{1f512}'.repeat(4),
    'ab'.repeat(maxPasswordBytes / 2),
    '\u{1f511}\u{1f512}'.repeat(maxPasswordBytes / 8),
    'password is what I forget'
  ]) {
    t.equal(await passwordFault(password, 'ann', policy), undefined, password.slice(0, 24))
  }
})

t.test('what may not, with a policy or without', async (t) => {
  for (const [password, fault] of [
    ['', /must not be empty/],
    ['x'.repeat(maxPasswordBytes + 1), /too long: at most 1024 bytes/],
    ['\u{1f511}'.repeat(maxPasswordBytes / 4 + 1), /too long/],
    ['1234\x005678', /NUL/],
    ['12345678\ud83d', /Unicode/],
    [' 12345678', /white space/],
    ['12345678\n', /white space/],
    ['12345678\u{a0}', /white space/],
    ['\u{feff}12345678', /white space/],
    ['\u{1f}12345678', /white space/]
  ] as const) {
    for (const each of [policy, undefined])
      t.match(await passwordFault(password, 'ann', each), fault, JSON.stringify(password.slice(0, 24)))
  }
  t.equal(await passwordFault('x', 'x', undefined), undefined, 'without one, that is all')
})

t.test('a least length, in characters', async (t) => {
  t.match(await passwordFault('a horse', 'ann', policy), /too short: at least 8 characters/)
  t.match(await passwordFault('\u{1f511}\u{1f512}'.repeat(3), 'ann', policy), /too short/)
  t.match(await passwordFault('x'.repeat(127), 'ann', { ...policy, minLength: 128 }), /too short/)
  t.equal(await passwordFault('\u{1f511}', 'ann', { ...policy, minLength: 1, refusesCommon: false }), undefined)
})

t.test('what many people use is refused, in letters of either case and width', async (t) => {
  for (const password of [
    '12345678',
    'password',
    'PassWord1',
    'qwertyuiop',
    'iloveyou',
    '1q2w3e4r5t',
    '\u{ff50}assword',
    'aaaaaaaa',
    '\u{1f511}'.repeat(8)
  ]) {
    t.match(await passwordFault(password, 'ann', policy), /too common/, password)
    t.equal(await passwordFault(password, 'ann', { ...policy, refusesCommon: false }), undefined)
  }
  t.equal(await isCommon('password","12345678'), false, 'nothing but a whole one')
  t.equal(await isCommon('ssword1'), false)
  t.equal(await isCommon('"password"'), false)
})

t.test('so are the username and the name of the service, and little more than these', async (t) => {
  const close = /too similar to the username or to the name of the service/
  for (const [password, username] of [
    ['ann.miller', 'Ann.Miller'],
    ['\u{ff21}nn.miller', 'ann.miller'],
    ['Ann.Miller2026!', 'ann.miller'],
    ['ann.miller', 'ann.miller@example.com'],
    ['ann.miller@example.com', 'ann.miller@example.com'],
    ['0049301234567', '0049301234567'],
    ['Keyturn1', 'ann'],
    ['**keyturn**', 'ann']
  ] as const) {
    t.match(await passwordFault(password, username, policy), close, password)
  }
  for (const [password, username] of [
    ['ann.miller and son', 'ann.miller'],
    ['2026-ann-2027', 'ann'],
    ['0049301234568', '0049301234567']
  ] as const) {
    t.equal(await passwordFault(password, username, policy), undefined, password)
  }
  const named = passwordPolicy(loadConfig({ ISSUER: 'https://login.example.com/tenant' }))
  for (const password of ['Example123', 'login.example.com'])
    t.match(await passwordFault(password, 'ann', named), close, password)
  t.same(passwordPolicy(loadConfig({ ISSUER: 'the issuer' })).serviceNames, ['keyturn'], 'one that is not a URL')
})

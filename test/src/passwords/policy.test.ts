import t from 'tap'
import { longestPassword, passwordFault } from '../../../src/passwords/policy.ts'

const policy = { minLength: 8, username: 'ann' }

t.test('what may be set', async (t) => {
  for (const password of [
    '12345678',
    'aaaaaaaa',
    'inner blanks are fine',
    '\u{1f511}'.repeat(8),
    'x'.repeat(longestPassword),
    '\u{1f511}'.repeat(longestPassword / 4)
  ]) {
    t.equal(passwordFault(password, policy), undefined, password.slice(0, 24))
  }
})

t.test('what may not', async (t) => {
  for (const [password, fault] of [
    ['', /must not be empty/],
    ['1234567', /too short: at least 8 characters/],
    ['\u{1f511}'.repeat(7), /too short/],
    ['x'.repeat(longestPassword + 1), /too long: at most 1024 bytes/],
    ['\u{1f511}'.repeat(longestPassword / 4 + 1), /too long/],
    ['1234\x005678', /NUL/],
    ['12345678\ud83d', /Unicode/],
    [' 12345678', /white space/],
    ['12345678\n', /white space/],
    ['12345678\u{a0}', /white space/],
    ['\u{feff}12345678', /white space/],
    ['\u{1f}12345678', /white space/]
  ] as const) {
    t.match(passwordFault(password, policy), fault, JSON.stringify(password.slice(0, 24)))
  }
})

t.test('the username is no password', async (t) => {
  t.match(passwordFault('ann.miller', { minLength: 8, username: 'Ann.Miller' }), /must not be the username/)
  t.match(passwordFault('\u{ff21}nn.miller', { minLength: 8, username: 'ann.miller' }), /must not be the username/)
  t.equal(passwordFault('ann.miller1', { minLength: 8, username: 'ann.miller' }), undefined)
})

t.test('the bound of length is the one given', async (t) => {
  t.equal(passwordFault('x', { minLength: 1, username: '' }), undefined)
  t.match(passwordFault('', { minLength: 1, username: '' }), /must not be empty/)
  t.match(passwordFault('x'.repeat(127), { minLength: 128, username: '' }), /too short/)
})

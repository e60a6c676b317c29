/* Users as they were a few seconds ago: for endpoints that cannot query the store for each request. */
import t from 'tap'
import { KeyturnError } from '../../../src/errors.ts'
import { passwordFingerprint } from '../../../src/passwords/fingerprint.ts'
import { makeManualClock } from '../../../src/time.ts'
import { makeRecentUsers } from '../../../src/users/recent.ts'
import type { User } from '../../../src/users/user.ts'

const aUser = (changes: Partial<User> = {}): User => ({
  id: '1',
  username: 'ann',
  passwordHash: 'digest',
  isActive: true,
  createdAt: 0,
  lastLoginAt: undefined,
  claims: {},
  ...changes
})

function open() {
  const clock = makeManualClock()
  const asked: string[] = []
  const state = { user: aUser() as User | undefined, isDown: false }
  const recent = makeRecentUsers(
    {
      async findById(id) {
        asked.push(id)
        if (state.isDown) throw new KeyturnError('STORE_DOWN')
        return state.user && { ...state.user, id }
      }
    },
    clock
  )
  return { clock, asked, state, recent }
}

t.test('a user is asked for once in five seconds, however many want it at once', async (t) => {
  const { clock, asked, state, recent } = open()
  const found = await Promise.all(Array.from({ length: 20 }, () => recent.findById('1')))
  t.same(
    found[19],
    { id: '1', username: 'ann', isActive: true, passwordFingerprint: passwordFingerprint('digest') },
    'without the password hash'
  )
  state.user = aUser({ isActive: false })
  clock.advance(4)
  t.match(await recent.findById('1'), { isActive: true })
  t.same(asked, ['1'])
  clock.advance(1)
  t.match(await recent.findById('1'), { isActive: false })
  state.user = undefined
  clock.advance(5)
  t.equal(await recent.findById('1'), undefined)
  t.equal(await recent.findById('1'), undefined)
  t.equal(asked.length, 3, 'that there is none is remembered too')
})

t.test('a user read before the clock was set back is read again', async (t) => {
  const { clock, asked, state, recent } = open()
  await recent.findById('1')
  state.user = aUser({ isActive: false })
  clock.advance(-3600)
  t.match(await recent.findById('1'), { isActive: false }, 'and not in an hour')
  await recent.findById('1')
  t.equal(asked.length, 2)
})

t.test('a user remembered under another password is read again', async (t) => {
  const { asked, state, recent } = open()
  const [before, after] = [passwordFingerprint('digest'), passwordFingerprint('another')]
  await recent.findById('1', before)
  await recent.findById('1', before)
  t.equal(asked.length, 1)
  state.user = aUser({ passwordHash: 'another' })
  t.match(await recent.findById('1', before), { passwordFingerprint: before }, 'the change is not known yet')
  t.match(await recent.findById('1', after), { passwordFingerprint: after })
  t.equal(asked.length, 2)
  t.match(await recent.findById('1'), { passwordFingerprint: after })
  await recent.findById('1', after)
  t.equal(asked.length, 2)
  await recent.findById('1', before)
  t.equal(asked.length, 3, 'a token from the past costs a lookup each time, as at the other endpoints')
  state.isDown = true
  t.match(await recent.findById('1', before), { passwordFingerprint: after }, 'while the store is away, as last seen')
})

t.test('while the store is away a user stays as last seen, and who was not seen is not known', async (t) => {
  const { clock, asked, state, recent } = open()
  await recent.findById('1')
  state.isDown = true
  clock.advance(60)
  t.match(await recent.findById('1'), { username: 'ann' })
  t.match(await recent.findById('1'), { username: 'ann' })
  t.equal(asked.length, 2, 'not asked for again at once')
  await t.rejects(recent.findById('2'), { code: 'STORE_DOWN' })
  await t.rejects(recent.findById('2'), { code: 'STORE_DOWN' })
  state.isDown = false
  state.user = aUser({ username: 'eve' })
  clock.advance(5)
  t.match(await recent.findById('1'), { username: 'eve' })
  t.match(await recent.findById('2'), { username: 'eve' })
})

t.test('no more than ten thousand are remembered', async (t) => {
  const { asked, recent } = open()
  for (let id = 0; id <= 10_000; id++) await recent.findById(String(id))
  asked.length = 0
  await recent.findById('10000')
  await recent.findById('1')
  t.same(asked, [])
  await recent.findById('0')
  t.same(asked, ['0'], 'the first has gone')
})

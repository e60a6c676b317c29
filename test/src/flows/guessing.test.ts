import t, { type Test } from 'tap'
import { KeyturnError } from '../../../src/errors.ts'
import { type GuessLimits, makeChargeReset, makeTryPassword } from '../../../src/flows/guessing.ts'
import { trustedFor } from '../../../src/passwords/guessing.ts'
import { openEmbedded } from '../../../src/stores/embedded/engine.ts'
import { openEmbeddedGuesses } from '../../../src/stores/embedded/guesses.ts'
import { makeManualClock } from '../../../src/time.ts'

const secret = Buffer.alloc(32, 'secret')
const ip = '192.0.2.1'

/** Tries passwords, of which one is right, and counts those that were looked at. */
async function open(t: Test, changes: Partial<GuessLimits> = {}) {
  const engine = openEmbedded(t.testdir())
  t.teardown(() => engine.close())
  const clock = makeManualClock()
  const store = await openEmbeddedGuesses(engine, clock)
  const tryPassword = makeTryPassword(store, secret, { isOn: true, address: null, everybody: null, ...changes })
  let looked = 0
  /** `right`, `wrong`, or the seconds to wait. */
  const guess = async (password: string, from: { username?: string; ip?: string; sid?: string } = {}) => {
    try {
      const answer = await tryPassword({ username: 'ann', ip, ...from }, async () => {
        looked += 1
        return { isRight: password === 'right' }
      })
      return answer.isRight ? 'right' : 'wrong'
    } catch (error) {
      if (error instanceof KeyturnError && error.code === 'RATE_LIMITED') return error.retryAfter
      throw error
    }
  }
  const times = async <T>(count: number, work: () => Promise<T>): Promise<T[]> => {
    const results = []
    for (let index = 0; index < count; index++) results.push(await work())
    return results
  }
  return { clock, engine, store, tryPassword, guess, times, looked: () => looked }
}

const all = <T>(count: number, value: T): T[] => new Array(count).fill(value)

t.test('ten wrong passwords of an account, then one a minute, from wherever they come', async (t) => {
  const { clock, guess, times, looked } = await open(t)
  let last = 0
  const elsewhere = () => {
    last += 1
    return guess('wrong', { ip: `198.51.100.${last}` })
  }
  t.same(await times(12, elsewhere), [...all(10, 'wrong'), 60, 60])
  t.equal(await guess('right'), 60, 'the right one too, or it would be none')
  t.equal(looked(), 10, 'what is refused is not looked at')
  clock.advance(59)
  t.equal(await guess('right'), 1)
  clock.advance(1)
  t.equal(await guess('right'), 'right')
  t.equal(await guess('wrong', { username: 'ben' }), 'wrong', 'others are not concerned')
})

t.test('one account, however its name is written', async (t) => {
  const { guess, times } = await open(t)
  await times(9, () => guess('wrong'))
  t.equal(await guess('wrong', { username: 'ANN' }), 'wrong', 'for tables that compare without case')
  t.equal(await guess('wrong', { username: 'ａnn' }), 60)
})

t.test('a hundred at once: ten pass', async (t) => {
  const { guess, looked } = await open(t)
  const answers = await Promise.all(Array.from({ length: 100 }, () => guess('wrong')))
  t.equal(answers.filter((answer) => answer === 'wrong').length, 10)
  t.equal(looked(), 10)
})

t.test('a right password costs nothing, nor does what could not be looked at', async (t) => {
  const { guess, times, tryPassword } = await open(t)
  const busy = new KeyturnError('BUSY')
  const fail = () =>
    t.rejects(
      tryPassword({ username: 'ann', ip }, () => Promise.reject(busy)),
      busy
    )
  await times(30, fail)
  await times(9, () => guess('wrong'))
  t.same(await times(3, () => guess('right', { username: 'Ann' })), all(3, 'right'))
  t.equal(await guess('wrong', { ip: '198.51.100.1' }), 'wrong', 'the tenth')
  t.equal(await guess('wrong', { ip: '198.51.100.1' }), 60, 'which a right one between them does not take back')
})

t.test('from where the owner has logged in, the owner gets through', async (t) => {
  const { clock, guess, times } = await open(t)
  const stranger = () => guess('wrong', { ip: '198.51.100.1' })
  t.equal(await guess('right', { ip: '2001:db8::1' }), 'right')
  await times(11, stranger)
  t.equal(await guess('right', { ip: '2001:db8::ffff' }), 'right', 'the same /64')
  t.equal(await guess('right', { ip: '2001:db8:0:1::1' }), 60, 'another one')
  clock.advance(trustedFor - 1)
  await times(11, stranger)
  t.equal(await guess('right', { ip: '2001:db8::1' }), 'right', 'known for 30 days')
  clock.advance(trustedFor - 1)
  t.equal(await guess('right', { ip: '2001:db8::1' }), 'right', 'since the last time')
  clock.advance(trustedFor)
  await times(11, stranger)
  t.equal(await guess('right', { ip: '2001:db8::1' }), 60)
})

t.test('an attacker behind the same address has few tries too', async (t) => {
  const { guess, times } = await open(t)
  await guess('right')
  const answers = await times(40, () => guess('wrong'))
  t.same(answers.slice(0, 21), [...all(20, 'wrong'), 60], 'the ten of the source, then those of the account')
  t.equal(await guess('right', { sid: 'a session' }), 'right', 'a session is a source of its own')
})

t.test('a session of the user is as good as a known address', async (t) => {
  const { guess, times } = await open(t)
  await times(11, () => guess('wrong', { ip: '198.51.100.1' }))
  t.same(await times(10, () => guess('wrong', { sid: 'one' })), all(10, 'wrong'), 'with tries of its own')
  t.equal(await guess('right', { sid: 'one' }), 60, 'and no more')
  t.equal(await guess('right', { sid: 'another' }), 'right')
})

t.test('an address that tries many accounts', async (t) => {
  const { clock, guess, times } = await open(t, { address: { requests: 20, window: 3600 } })
  let last = 0
  const next = (from: { ip?: string } = {}) => {
    last += 1
    return guess('wrong', { username: `user ${last}`, ...from })
  }
  await guess('right')
  t.same(await times(21, next), [...all(20, 'wrong'), 180])
  t.equal(await guess('wrong'), 'wrong', 'who is known there is not concerned')
  t.equal(await guess('right'), 'right')
  t.equal(await next({ ip: '198.51.100.1' }), 'wrong', 'nor is who comes from elsewhere')
  clock.advance(180)
  t.equal(await next(), 'wrong')
  t.equal(await guess('right', { username: `user ${last}`, ip: '198.51.100.2' }), 'right')
})

t.test('many addresses that try many accounts', async (t) => {
  const { guess, times } = await open(t, { everybody: { requests: 50, window: 60 } })
  t.equal(await guess('right'), 'right')
  let last = 0
  const next = () => {
    last += 1
    return guess('wrong', { username: `user ${last}`, ip: `198.51.100.${last}` })
  }
  t.same(await times(51, next), [...all(50, 'wrong'), 2])
  t.equal(await guess('right'), 'right', 'who is known is not concerned')
})

t.test('what is refused by one budget costs none of the others', async (t) => {
  const { clock, guess, times } = await open(t, { address: { requests: 5, window: 3600 } })
  t.same(await times(9, () => guess('wrong')), [...all(5, 'wrong'), ...all(4, 720)])
  t.same(await times(6, () => guess('wrong', { ip: '198.51.100.1' })), [...all(5, 'wrong'), 720])
  clock.advance(60)
  t.equal(await guess('wrong', { ip: '198.51.100.2' }), 'wrong')
})

t.test(
  'an account has five requests for a password reset, then one in twelve minutes, and keeps its guesses',
  async (t) => {
    const { clock, store, guess, times } = await open(t)
    const chargeReset = makeChargeReset(store, secret, { isOn: true, address: null })
    let last = 0
    /** `accepted`, or the seconds to wait. */
    const request = async () => {
      last += 1
      try {
        const chargeUser = await chargeReset({ username: 'ann', ip: `198.51.100.${last}` })
        await chargeUser('id of ann')
        return 'accepted'
      } catch (error) {
        if (error instanceof KeyturnError && error.code === 'RATE_LIMITED') return error.retryAfter
        throw error
      }
    }
    t.same(await times(7, request), [...all(5, 'accepted'), 720, 720])
    t.equal(await guess('right', { ip: '203.0.113.1' }), 'right')
    clock.advance(719)
    t.equal(await request(), 1)
    clock.advance(1)
    t.equal(await request(), 'accepted')
  }
)

t.test('LOGIN_BACKOFF=off looks at all', async (t) => {
  const { guess, times } = await open(t, { isOn: false, address: { requests: 1, window: 3600 } })
  t.same(await times(30, () => guess('wrong')), all(30, 'wrong'))
})

t.test('what is kept tells no names and no addresses', async (t) => {
  const { engine, guess } = await open(t, { address: { requests: 5, window: 60 } })
  await guess('wrong')
  await guess('right')
  const keys = ['guesses', 'known_sources'].flatMap((table) =>
    engine.run<{ key: string }>(`SELECT key FROM keyturn_${table}`).map(({ key }) => key)
  )
  t.equal(keys.length, 3)
  for (const key of keys) t.match(key, /^[\w-]{21,22}$/)
})

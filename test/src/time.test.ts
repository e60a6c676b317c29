import t from 'tap'
import { derivedId, equalInConstantTime, hmac, randomId } from '../../src/random.ts'
import { makeManualClock, parseDuration, systemClock } from '../../src/time.ts'

t.test('durations', async (t) => {
  for (const [text, seconds] of [
    ['0', 0],
    ['300', 300],
    ['300s', 300],
    ['5m', 300],
    ['12h', 43_200],
    ['30d', 2_592_000],
    ['999999999', 999_999_999]
  ] as const) {
    t.equal(parseDuration(text), seconds, text)
  }
  for (const text of ['', ...'m -1 +1 1.5h 5M 1w 5m30s 1e3 0x5 1234567890'.split(' '), '5 m', ' 5', '5m ', '5\n']) {
    t.equal(parseDuration(text), undefined, JSON.stringify(text))
  }
})

t.test('clocks tell whole seconds', async (t) => {
  t.ok(Number.isInteger(systemClock()))
  t.ok(Math.abs(systemClock() - Date.now() / 1000) < 2)
  const clock = makeManualClock(100)
  t.equal(clock(), 100)
  clock.advance(10)
  t.equal(clock(), 110)
  t.equal(makeManualClock()(), 1_700_000_000)
})

t.test('random and secret texts', async (t) => {
  const ids = Array.from({ length: 1000 }, randomId)
  t.equal(new Set(ids).size, 1000)
  for (const id of ids.slice(0, 10)) t.match(id, /^[0-9a-f]{32}$/)
  const secret = Buffer.from('secret')
  t.match(derivedId(secret, 'a'), /^[0-9a-f]{32}$/)
  t.equal(derivedId(secret, 'a'), hmac(secret, 'a').toString('hex', 0, 16))
  t.equal(equalInConstantTime('a', 'a'), true)
  t.equal(equalInConstantTime('', ''), true)
  for (const [a, b] of [
    ['a', 'b'],
    ['a', 'aa'],
    ['a', ''],
    ['a', 'a\0'],
    ['\u{e9}', 'e\u{301}']
  ] as const) {
    t.equal(equalInConstantTime(a, b), false)
  }
  // RFC 4231 §4.3
  const expected = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  t.equal(hmac(Buffer.from('Jefe'), 'what do ya want for nothing?').toString('hex'), expected)
})

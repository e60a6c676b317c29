import t from 'tap'
import { makeRetryAfter } from '../../../src/limits/retry-after.ts'

/** What clients are answered that are refused at the same time, as many as asked for. */
function refuse(count: number, earliest?: number) {
  let [ms, drawn] = [0, 0]
  // Evenly, so that the test does not depend on luck.
  const random = () => (drawn++ % 1000) / 1000
  const retryAfter = makeRetryAfter({ now: () => ms, random })
  const seconds = Array.from({ length: count }, () => retryAfter(earliest))
  return { seconds, retryAfter, wait: (more: number) => (ms += more) }
}

t.test('Retry-After: a few refused clients return over 1 to 5 seconds, in equal parts', async (t) => {
  const { seconds } = refuse(1000)
  for (const second of [1, 2, 3, 4, 5]) t.equal(seconds.filter((each) => each === second).length, 200, `${second} s`)
})

t.test('Retry-After: no client is asked to return earlier than it may', async (t) => {
  const { seconds } = refuse(1000, 60)
  t.same([Math.min(...seconds), Math.max(...seconds)], [60, 64])
})

t.test('Retry-After: the more clients are refused, the longer they are spread, up to half a minute', async (t) => {
  t.equal(Math.max(...refuse(12_000).seconds), 12)
  const crowd = refuse(40_000)
  t.equal(Math.max(...crowd.seconds), 30)
  crowd.wait(1000 * 1000)
  t.ok(crowd.retryAfter() <= 5, 'and once they have been served it is a few seconds again')
})

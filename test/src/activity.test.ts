import t from 'tap'
import {
  type Activity,
  ActivityHistory,
  countDuration,
  noActivity,
  quantileOf,
  takeGrowth
} from '../../src/activity.ts'

const noon = 1_769_860_800

/** Activity with as many logins. */
function logins(ok: number, rest: Partial<Pick<Activity, 'errors' | 'revocationLagMs' | 'hashQueue'>> = {}): Activity {
  return { ...noActivity(), results: { login: { ok }, refresh: {}, verify: {} }, ...rest }
}

t.test('activity is added up by minute, and gauges keep their highest value', async (t) => {
  const history = new ActivityHistory(noon + 30)
  history.add(logins(2, { errors: 1, revocationLagMs: 900, hashQueue: 4 }), noon + 31)
  history.add(logins(1, { errors: 1, revocationLagMs: 300, hashQueue: 5 }), noon + 59)
  history.add(logins(5), noon + 60)
  const { startedAt, totals, minutes } = history.read(noon + 61)
  t.equal(startedAt, noon + 30)
  t.same(totals, { login: { ok: 8 }, refresh: {}, verify: {} })
  t.match(minutes, [
    { at: noon, results: { login: { ok: 3 } }, errors: 2, revocationLagMs: 900, hashQueue: 5 },
    { at: noon + 60, results: { login: { ok: 5 } }, errors: 0, revocationLagMs: 0, hashQueue: 0 }
  ])
  t.equal(minutes.length, 2)
})

t.test('the history is an hour without gaps, and the totals stay', async (t) => {
  const history = new ActivityHistory(noon)
  history.add(logins(1), noon)
  history.add(logins(1), noon + 3 * 60)
  const times = (now: number) => history.read(now).minutes.map(({ at }) => (at - noon) / 60)
  t.same(times(noon + 4 * 60), [0, 1, 2, 3, 4])
  const later = times(noon + 62 * 60)
  t.same([later.length, later[0], later.at(-1)], [60, 3, 62])
  t.match(history.read(noon + 62 * 60).minutes[0], { results: { login: { ok: 1 } } })
  t.same([times(noon + 1000 * 60).length, times(noon + 1000 * 60)[0]], [60, 941])
  t.same(history.read(noon + 1000 * 60).totals.login, { ok: 2 })
})

t.test('a clock that is set back adds to the current minute', async (t) => {
  const history = new ActivityHistory(noon)
  history.add(logins(1), noon - 3600)
  const { minutes } = history.read(noon - 3600)
  t.match(minutes, [{ at: noon, results: { login: { ok: 1 } } }])
})

t.test('a report has what the totals have grown since the last one', async (t) => {
  const reported = new Map<string, number>()
  const totals = new Map([
    ['reused', 0],
    ['rotated', 2]
  ])
  t.same(takeGrowth(totals, reported), { rotated: 2 })
  t.same(takeGrowth(totals, reported), {})
  totals.set('rotated', 5).set('unknown', 1)
  t.same(takeGrowth(totals, reported), { rotated: 3, unknown: 1 })
})

t.test('quantiles are interpolated within their bucket', async (t) => {
  const { verify } = noActivity().durations
  t.equal(quantileOf(verify, 0.5), undefined)
  for (let n = 0; n < 98; n++) countDuration(verify, 0.0004)
  countDuration(verify, 0.3)
  countDuration(verify, 60)
  t.equal(quantileOf(verify, 0.49), 0.00025 + 0.00025 / 2)
  t.equal(quantileOf(verify, 0.99), 0.5)
  t.equal(quantileOf(verify, 1), 5, 'above the last bound it is that bound')
})

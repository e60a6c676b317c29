import t from 'tap'
import { Timings } from '../../src/timings.ts'

t.test('timings: a duration counts in the bucket of the first bound that is not below it, and in all after it', (t) => {
  const timings = new Timings({ name: 'waits', help: 'Waits', labels: ['store', 'result'], bounds: [0.1, 0.5] })
  for (const seconds of [0.05, 0.1, 0.2, 3]) timings.add(seconds, 'Redis', 'ok')
  timings.add(1, 'Redis', 'failed')
  const { values, ...rest } = timings.read()
  const labels = { store: 'Redis', result: 'ok' }
  t.match(rest, { name: 'waits', type: 'histogram', aggregator: 'sum' })
  t.same(values.slice(0, 5), [
    { metricName: 'waits_bucket', labels: { ...labels, le: 0.1 }, value: 2 },
    { metricName: 'waits_bucket', labels: { ...labels, le: 0.5 }, value: 3 },
    { metricName: 'waits_bucket', labels: { ...labels, le: '+Inf' }, value: 4 },
    { metricName: 'waits_sum', labels, value: 3.35 },
    { metricName: 'waits_count', labels, value: 4 }
  ])
  t.equal(values.length, 10, 'the other labels have a series of their own')
  t.end()
})

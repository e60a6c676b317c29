import t from 'tap'
import { progressLine } from '../../../src/cli/progress.ts'

t.test('progress is one line that fits', async (t) => {
  const half = { rows: 412_000, bytes: 50, totalBytes: 100, seconds: 20 }
  const line = '[##########----------]  50 %  412,000 rows  20,600/s  20 s left'
  t.equal(progressLine(half, 79), line)
  t.equal(progressLine(half, 30), line.slice(0, 30))
  t.equal(
    progressLine({ ...half, totalBytes: undefined }, 79),
    '412,000 rows  20,600/s',
    'the size of a pipe is unknown'
  )
  const start = { rows: 0, bytes: 0, totalBytes: 100, seconds: 0 }
  t.equal(progressLine(start, 79), '0 rows  0/s')
  t.equal(progressLine({ ...start, totalBytes: 0 }, 79), '0 rows  0/s')
  const grown = { rows: 10, bytes: 300, totalBytes: 100, seconds: 5 }
  t.equal(progressLine(grown, 79), '[####################]  100 %  10 rows  2/s  0 s left', 'a file that has grown')
})

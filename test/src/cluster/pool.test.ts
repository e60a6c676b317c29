/* What real processes show is in test/e2e/arbiter-*.test.ts; here is what they cannot. */
import { pino } from 'pino'
import t from 'tap'
import { makePool } from '../../../src/cluster/pool.ts'

t.test('a process that cannot be started at all', async (t) => {
  const failures: string[] = []
  const pool = makePool('hasher', {
    log: pino({ level: 'silent' }),
    events: {
      reported: () => t.fail('nobody is there'),
      gone: () => t.fail('nobody was there'),
      failed: (words) => failures.push(words),
      mayRelieve: () => true,
      settled() {}
    }
  })
  const { execPath } = process
  t.teardown(() => {
    process.execPath = execPath
  })
  process.execPath = '/nowhere/node'
  pool.resize({ count: 1, timeout: 1000, grace: 1000 })
  for (let turn = 0; turn < 10; turn++) {
    pool.settle()
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.same(failures, [
    'A hasher cannot be started: spawn /nowhere/node ENOENT.',
    'A hasher cannot be started: spawn /nowhere/node ENOENT.'
  ])
  t.match(pool.state(), { count: 0, ready: [], isComplete: false }, 'the third try waits for a second')
})

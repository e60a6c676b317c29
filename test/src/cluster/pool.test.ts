/* What real processes show is in test/e2e/arbiter-*.test.ts; here is what they cannot. */
import { pino } from 'pino'
import t from 'tap'
import { Pool } from '../../../src/cluster/pool.ts'

t.test('pool: a process that cannot be started is reported, and retried with a back-off', async (t) => {
  const failures: string[] = []
  const pool = new Pool('hasher', pino({ level: 'silent' }))
  pool.on('bootFailed', (reason) => failures.push(reason))
  for (const event of ['report', 'exit'] as const) pool.on(event, () => t.fail('there is no process'))
  const { execPath } = process
  t.teardown(() => {
    process.execPath = execPath
  })
  process.execPath = '/nowhere/node'
  pool.resize({ count: 1, timeout: 1000, grace: 1000 })
  for (let turn = 0; turn < 10; turn++) {
    pool.settle(true)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.same(failures, [
    'A hasher could not be started: spawn /nowhere/node ENOENT.',
    'A hasher could not be started: spawn /nowhere/node ENOENT.'
  ])
  t.match(pool, { count: 0, ready: [], isComplete: false, isSettled: false }, 'the third start waits for a second')
})

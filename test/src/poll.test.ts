import { mock } from 'node:test'
import t from 'tap'
import { poll } from '../../src/poll.ts'

function makeRun(): { readonly promise: Promise<void>; end(): void } {
  let end = (): void => {}
  const promise = new Promise<void>((resolve) => {
    end = resolve
  })
  return { promise, end: () => end() }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

t.test('poll: runs never twice at once, and an outage is reported once', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  let runs = 0
  const outages: unknown[] = []
  let task = (): unknown => undefined
  const poller = poll(
    () => {
      runs++
      return task()
    },
    { intervalMs: 100, onOutage: (error) => outages.push(error) }
  )
  const tick = async (): Promise<void> => {
    mock.timers.tick(100)
    await settle()
  }
  t.equal(runs, 0, 'not at once')
  const run = makeRun()
  task = () => run.promise
  await tick()
  await tick()
  t.equal(runs, 1, 'the first run has not ended')
  run.end()
  await settle()

  task = () => Promise.reject('down')
  await tick()
  await tick()
  task = () => {}
  await tick()
  task = () => {
    throw 'down again'
  }
  await tick()
  t.equal(runs, 5)
  t.same(outages, ['down', 'down again'])

  task = () => {}
  await poller.close()
  await tick()
  t.equal(runs, 5, 'closed')
})

t.test('poll: close resolves when the run in progress has ended', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const run = makeRun()
  const poller = poll(() => run.promise, { intervalMs: 100, onOutage: () => {} })
  mock.timers.tick(100)
  let isClosed = false
  const closed = poller.close().then(() => {
    isClosed = true
  })
  await settle()
  t.notOk(isClosed)
  run.end()
  await closed
})

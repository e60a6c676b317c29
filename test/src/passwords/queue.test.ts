import t from 'tap'
import { makeQueue } from '../../../src/passwords/queue.ts'

/** A task that runs until it is released, and records when it ran. */
function aTask(log: string[], name: string) {
  let end = () => {}
  const promise = new Promise<string>((resolve) => {
    end = () => resolve(name)
  })
  const run = () => {
    log.push(name)
    return promise
  }
  return { run, end }
}

/** Everything that is ready to run has run. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

t.test('so many run at once, the others in the order they came', async (t) => {
  const queue = makeQueue({ concurrency: 2, waiting: 3 })
  const log: string[] = []
  const tasks = ['a', 'b', 'c', 'd', 'e'].map((name) => aTask(log, name))
  const results = tasks.map((task) => queue(task.run))
  await settled()
  t.same(log, ['a', 'b'])
  tasks[1]?.end()
  await settled()
  t.same(log, ['a', 'b', 'c'], 'one out, one in')
  for (const task of tasks) task.end()
  t.same(await Promise.all(results), ['a', 'b', 'c', 'd', 'e'])
  t.same(log, ['a', 'b', 'c', 'd', 'e'])

  const later = ['f', 'g', 'h'].map((name) => aTask(log, name))
  const laterResults = later.map((task) => queue(task.run))
  await settled()
  t.same(log.slice(5), ['f', 'g'], 'no more at once than before')
  for (const task of later) task.end()
  await Promise.all(laterResults)
})

t.test('one too many is refused at once, and there is room again afterwards', async (t) => {
  const queue = makeQueue({ concurrency: 1, waiting: 1 })
  const log: string[] = []
  const [first, second] = [aTask(log, 'first'), aTask(log, 'second')]
  const results = [queue(first.run), queue(second.run)]
  await t.rejects(
    queue(() => Promise.resolve(t.fail('it must not run'))),
    { code: 'BUSY', status: 503, retryAfter: 1 }
  )
  first.end()
  second.end()
  await Promise.all(results)
  t.equal(await queue(async () => 'third'), 'third')
})

t.test('a task that fails gives its place to the next', async (t) => {
  const queue = makeQueue({ concurrency: 1, waiting: 2 })
  const failing = queue(() => Promise.reject(new Error('mine alone')))
  const thrown = queue(() => {
    throw new Error('at once')
  })
  const next = queue(async () => 'next')
  await t.rejects(failing, { message: 'mine alone' })
  await t.rejects(thrown, { message: 'at once' })
  t.equal(await next, 'next')
})

t.test('an aborted task leaves the queue, and no other does', async (t) => {
  const queue = makeQueue({ concurrency: 1, waiting: 2 })
  const log: string[] = []
  const tasks = ['a', 'b', 'c', 'd'].map((name) => aTask(log, name))
  const [gone, stays] = [new AbortController(), new AbortController()]
  const add = (index: number, signal?: AbortSignal) => queue(tasks[index]?.run ?? (async () => ''), signal)
  const first = add(0, stays.signal)
  const second = add(1, gone.signal)
  const third = add(2, stays.signal)
  await t.rejects(add(3), { code: 'BUSY' }, 'the line is full')
  gone.abort()
  await t.rejects(second, { code: 'BUSY', detail: 'the client has disconnected' })
  const fourth = add(3)
  for (const task of tasks) task.end()
  t.same(await Promise.all([first, third, fourth]), ['a', 'c', 'd'])
  t.same(log, ['a', 'c', 'd'], 'an aborted task is not begun')
  await t.rejects(add(1, gone.signal), { code: 'BUSY' }, 'nor is a task that was aborted from the beginning')
})

t.test('a task that has begun is finished, even if it is aborted', async (t) => {
  const queue = makeQueue({ concurrency: 1, waiting: 1 })
  const log: string[] = []
  const [running, next] = [aTask(log, 'running'), aTask(log, 'next')]
  const gone = new AbortController()
  const results = [queue(running.run, gone.signal), queue(next.run, gone.signal)]
  running.end()
  await settled()
  gone.abort()
  next.end()
  t.same(await Promise.all(results), ['running', 'next'])
})

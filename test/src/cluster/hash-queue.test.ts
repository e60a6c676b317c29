import t from 'tap'
import { HashQueue } from '../../../src/cluster/hash-queue.ts'
import type { Child, HashResult, Order } from '../../../src/cluster/messages.ts'

/** A process that keeps the orders it was sent. */
function aChild(): Child & { readonly orders: Order[] } {
  const orders: Order[] = []
  return { pid: 0, orders, send: (order) => orders.push(order) }
}
const job = (password: string) => ({ kind: 'hash', password }) as const

type Ordered = { readonly orders: readonly Order[] }

/** The passwords that a hasher was given, in order. */
const given = ({ orders }: Ordered): string[] =>
  orders.flatMap((order) => (order.type === 'hash' ? [order.job.password] : []))

/** The results that a worker got. */
const results = ({ orders }: Ordered): unknown[] =>
  orders.flatMap((order) => (order.type === 'hashed' ? [[order.id, order.result]] : []))

/** The id under which a hasher was given a password. */
const ticketOf = ({ orders }: Ordered, password: string): number => {
  const order = orders.findLast((each) => each.type === 'hash' && each.job.password === password)
  return order?.type === 'hash' ? order.id : Number.NaN
}

/** A hasher has hashed a password. */
const finish = (
  queue: HashQueue,
  hasher: Child & Ordered,
  password: string,
  result: HashResult = { value: 'x' }
): void => queue.settle(hasher, ticketOf(hasher, password), result)

t.test('hash queue: one queue for all workers; each hasher has one job in work and one prefetched', async (t) => {
  const queue = new HashQueue(10)
  const [one, two, hasher, other] = [aChild(), aChild(), aChild(), aChild()]
  queue.add(one, 1, job('a'))
  queue.add(two, 1, job('b'))
  queue.add(one, 2, job('c'))
  queue.addHasher(hasher)
  t.same(given(hasher), ['a', 'b'], 'waiting jobs start with the first hasher')
  queue.addHasher(other)
  t.same(given(other), ['c'])
  queue.add(two, 2, job('d'))
  queue.add(two, 3, job('e'))
  t.same(given(other), ['c', 'd'], 'prefetched by the hasher that has only one')
  finish(queue, hasher, 'a', { value: 'digest of a' })
  t.same(given(hasher), ['a', 'b', 'e'])
  finish(queue, other, 'c', { busy: 'no memory' })
  finish(queue, hasher, 'b', { value: true })
  t.same(results(one), [
    [1, { value: 'digest of a' }],
    [2, { busy: 'no memory' }]
  ])
  t.same(results(two), [[1, { value: true }]], 'the same id, from another worker')
  finish(queue, hasher, 'b', { value: true })
  finish(queue, other, 'a', { value: true })
  t.equal(one.orders.length + two.orders.length, 3, 'results that no worker waits for are dropped')
})

t.test('hash queue: an idle hasher gets the next job', async (t) => {
  const queue = new HashQueue(10)
  const [worker, hasher, other] = [aChild(), aChild(), aChild()]
  queue.addHasher(hasher)
  queue.addHasher(other)
  for (const id of [1, 2, 3]) queue.add(worker, id, job(`${id}`))
  t.same([given(hasher), given(other)], [['1', '3'], ['2']])
  finish(queue, other, '2')
  queue.add(worker, 4, job('4'))
  t.same(given(other), ['2', '4'])
})

t.test('hash queue: one job too many is refused at once', async (t) => {
  const queue = new HashQueue(2)
  const [worker, hasher] = [aChild(), aChild()]
  queue.addHasher(hasher)
  for (const id of [1, 2, 3, 4]) queue.add(worker, id, job(`${id}`))
  t.same(
    results(worker),
    [[4, { busy: '2 logins are already waiting', isFull: true }]],
    'one is in work, two wait, one of them prefetched'
  )
  finish(queue, hasher, '1')
  queue.add(worker, 5, job('5'))
  t.same(results(worker).length, 2, 'there is room again')
  queue.add(worker, 6, job('6'))
  t.same(results(worker).length, 3, 'for one')
})

/** The free places that a worker was announced. */
const places = ({ orders }: Ordered): unknown[] =>
  orders.flatMap((order) => (order.type === 'capacity' ? [order.places ?? 'any'] : []))

t.test('hash queue: each free place is announced to one of the refused workers, in turn', async (t) => {
  const queue = new HashQueue(8)
  const [one, two, hasher] = [aChild(), aChild(), aChild()]
  queue.addHasher(hasher)
  for (const id of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) queue.add(one, id, job(`${id}`))
  queue.add(two, 1, job('x'))
  t.match([results(one), results(two)], [[[10]], [[1]]], 'one in work, eight wait')
  t.same([places(one), places(two)], [[], []])
  finish(queue, hasher, '1')
  t.same([places(one), places(two)], [[1], []])
  queue.add(one, 11, job('11'))
  finish(queue, hasher, '2')
  t.same([places(one), places(two)], [[1], [1]])
  queue.add(two, 2, job('y'))
  queue.cancel(one, 9)
  t.same([places(one), places(two)], [[1, 1], [1]], 'also when a job is cancelled')
  finish(queue, hasher, '3')
  t.same(
    [places(one), places(two)],
    [
      [1, 1, 'any'],
      [1, 'any']
    ],
    'a quarter is free, since a worker did not use its place: all may come'
  )
  finish(queue, hasher, '4')
  t.equal(places(one).length + places(two).length, 5, 'no worker needs another announcement')
})

t.test('hash queue: a worker that has exited gets no announcement, and its jobs free their places', async (t) => {
  const queue = new HashQueue(1)
  const [gone, worker, hasher] = [aChild(), aChild(), aChild()]
  queue.addHasher(hasher)
  for (const id of [1, 2, 3]) queue.add(gone, id, job(`${id}`))
  queue.add(worker, 1, job('x'))
  queue.removeWorker(gone)
  t.same(places(worker), [], 'the hasher has both jobs')
  finish(queue, hasher, '1')
  t.same([places(gone), places(worker)], [[], ['any']])
})

t.test('hash queue: an idle hasher takes a job, however many wait', async (t) => {
  const queue = new HashQueue(1)
  const [worker, hasher, other] = [aChild(), aChild(), aChild()]
  queue.addHasher(hasher)
  for (const id of [1, 2]) queue.add(worker, id, job(`${id}`))
  queue.addHasher(other)
  queue.add(worker, 3, job('3'))
  t.same([given(hasher), given(other)], [['1', '2'], ['3']])
})

t.test('hash queue: the capacity can change', async (t) => {
  const queue = new HashQueue(1)
  const worker = aChild()
  queue.add(worker, 1, job('a'))
  queue.add(worker, 2, job('b'))
  queue.capacity = 2
  queue.add(worker, 3, job('c'))
  t.same(results(worker), [[2, { busy: '1 logins are already waiting', isFull: true }]])
})

t.test('hash queue: without a hasher as many jobs wait', async (t) => {
  const queue = new HashQueue(2)
  const worker = aChild()
  for (const id of [1, 2, 3]) queue.add(worker, id, job(`${id}`))
  t.same(results(worker), [[3, { busy: '2 logins are already waiting', isFull: true }]])
})

t.test('hash queue: the job of a hasher that dies goes to another one, once', async (t) => {
  const queue = new HashQueue(10)
  const [worker, first, second, third] = [aChild(), aChild(), aChild(), aChild()]
  queue.addHasher(first)
  for (const [id, password] of ['a', 'b', 'c'].entries()) queue.add(worker, id, job(password))
  queue.removeHasher(first)
  queue.addHasher(second)
  t.same(given(second), ['a', 'b'], 'both jobs that it had come before those that wait')
  queue.removeHasher(second)
  t.same(
    results(worker),
    [[0, { busy: 'two hashers died while hashing this password' }]],
    'only the job that was in work is refused'
  )
  queue.addHasher(third)
  t.same(given(third), ['b', 'c'])
  queue.removeHasher(third)
  queue.addHasher(second)
  t.same(given(second).slice(2), ['b', 'c'], 'a job that was only prefetched before has a second try as well')
  queue.removeHasher(second)
  t.same(results(worker).slice(1), [[1, { busy: 'two hashers died while hashing this password' }]])
})

t.test('hash queue: a retired hasher finishes its jobs, and gets no more', async (t) => {
  const queue = new HashQueue(10)
  const [worker, old, young] = [aChild(), aChild(), aChild()]
  queue.addHasher(old)
  queue.add(worker, 1, job('a'))
  queue.retireHasher(old)
  queue.add(worker, 2, job('b'))
  t.same(given(old), ['a'], 'although it has only one')
  finish(queue, old, 'a')
  t.same(results(worker), [[1, { value: 'x' }]])
  queue.removeHasher(old)
  t.same(given(old), ['a'])
  queue.addHasher(young)
  t.same(given(young), ['b'])

  finish(queue, young, 'b', { value: 'y' })
  queue.retireHasher(young)
  queue.add(worker, 3, job('c'))
  t.same(given(young), ['b'], 'also when it was idle')
})

t.test('hash queue: the jobs of a worker that has exited leave the queue', async (t) => {
  const queue = new HashQueue(10)
  const [gone, worker, hasher] = [aChild(), aChild(), aChild()]
  queue.addHasher(hasher)
  for (const id of [1, 2, 3]) queue.add(gone, id, job(`${id}`))
  queue.add(worker, 1, job('other'))
  queue.removeWorker(gone)
  finish(queue, hasher, '1')
  finish(queue, hasher, '2')
  t.same(given(hasher), ['1', '2', 'other'], 'except those that a hasher has')
  finish(queue, hasher, 'other')
  t.same(results(worker), [[1, { value: 'x' }]])
})

t.test('hash queue: a cancelled job leaves the queue, unless a hasher has it', async (t) => {
  const queue = new HashQueue(3)
  const [worker, other, hasher] = [aChild(), aChild(), aChild()]
  queue.addHasher(hasher)
  for (const id of [1, 2, 3, 4]) queue.add(worker, id, job(`${id}`))
  queue.cancel(worker, 1)
  queue.cancel(worker, 2)
  queue.cancel(other, 3)
  t.same(results(worker), [], 'the hasher has the first two, and the third is of another worker')
  queue.cancel(worker, 3)
  queue.cancel(worker, 3)
  t.same(results(worker), [[3, { busy: 'the client has disconnected' }]])
  for (const id of [5, 6]) queue.add(worker, id, job(`${id}`))
  t.same(
    results(worker).slice(1),
    [[6, { busy: '3 logins are already waiting', isFull: true }]],
    'there was room for another job'
  )
  for (const id of [1, 2, 4, 5]) finish(queue, hasher, `${id}`)
  t.same(given(hasher), ['1', '2', '4', '5'])
})

t.test(
  'hash queue: the time in the queue and the time in the hasher are measured, also of a prefetched job',
  async (t) => {
    const queue = new HashQueue(3)
    const [worker, hasher] = [aChild(), aChild()]
    const counts = () => queue.measure().histograms.map(({ values }) => values.at(-1)?.value)
    queue.addHasher(hasher)
    for (const id of [1, 2, 3]) queue.add(worker, id, job(`${id}`))
    t.match(queue.measure(), { waiting: 2, capacity: 3 })
    t.same(counts(), [1, undefined], 'the first one is in work')
    finish(queue, hasher, '1')
    t.same(counts(), [2, 1], 'then the prefetched one is')
    finish(queue, hasher, '2')
    finish(queue, hasher, '3')
    t.same(counts(), [3, 3])
  }
)

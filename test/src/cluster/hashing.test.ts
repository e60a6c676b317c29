import t from 'tap'
import { makeHashing } from '../../../src/cluster/hashing.ts'
import type { Child, Order } from '../../../src/cluster/messages.ts'

/** A process that keeps what it was told. */
function aChild(): Child & { readonly told: Order[] } {
  const told: Order[] = []
  return { pid: 0, told, tell: (order) => told.push(order) }
}
const job = (password: string) => ({ kind: 'hash', password }) as const

/** The passwords a hasher was given, in order; the answers a worker got. */
const given = ({ told }: { told: Order[] }): string[] =>
  told.flatMap((order) => (order.type === 'hash' ? [order.job.password] : []))
const answers = ({ told }: { told: Order[] }): unknown[] =>
  told.flatMap((order) => (order.type === 'hashed' ? [[order.id, order.result]] : []))

t.test('one line for all workers, one job at a time for each hasher', async (t) => {
  const hashing = makeHashing(() => 10)
  const [one, two, hasher, other] = [aChild(), aChild(), aChild(), aChild()]
  hashing.ask(one, 1, job('a'))
  hashing.ask(two, 1, job('b'))
  hashing.ask(one, 2, job('c'))
  hashing.join(hasher)
  t.same(given(hasher), ['a'], 'what waited is done as soon as somebody is there')
  hashing.join(other)
  t.same(given(other), ['b'])
  hashing.answer(hasher, { value: 'digest of a' })
  t.same(given(hasher), ['a', 'c'])
  hashing.answer(other, { value: true })
  hashing.answer(hasher, { busy: 'no memory' })
  t.same(answers(one), [
    [1, { value: 'digest of a' }],
    [2, { busy: 'no memory' }]
  ])
  t.same(answers(two), [[1, { value: true }]], 'the same number, and another worker')
  hashing.answer(other, { value: 'nobody asked' })
  t.equal(one.told.length + two.told.length, 3)
})

t.test('one too many is refused at once', async (t) => {
  const hashing = makeHashing(() => 2)
  const [worker, hasher] = [aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3, 4]) hashing.ask(worker, id, job(`${id}`))
  t.same(answers(worker), [[4, { busy: '2 wait already' }]], 'one is worked on, two wait')
  hashing.answer(hasher, { value: 'x' })
  hashing.ask(worker, 5, job('5'))
  t.same(answers(worker).length, 2, 'and there is room again')
})

t.test('how many may wait can change', async (t) => {
  let most = 1
  const hashing = makeHashing(() => most)
  const worker = aChild()
  hashing.ask(worker, 1, job('a'))
  hashing.ask(worker, 2, job('b'))
  most = 2
  hashing.ask(worker, 3, job('c'))
  t.same(answers(worker), [[2, { busy: '1 wait already' }]])
})

t.test('without any hasher as many wait', async (t) => {
  const hashing = makeHashing(() => 2)
  const worker = aChild()
  for (const id of [1, 2, 3]) hashing.ask(worker, id, job(`${id}`))
  t.same(answers(worker), [[3, { busy: '2 wait already' }]])
})

t.test('a hasher that dies: its job is done by the next one, once', async (t) => {
  const hashing = makeHashing(() => 10)
  const [worker, first, second, third] = [aChild(), aChild(), aChild(), aChild()]
  hashing.join(first)
  hashing.ask(worker, 1, job('a'))
  hashing.ask(worker, 2, job('b'))
  hashing.leave(first, true)
  hashing.join(second)
  t.same(given(second), ['a'], 'it comes before what waits')
  hashing.leave(second, true)
  t.same(answers(worker), [[1, { busy: 'two hashers died of it' }]])
  hashing.join(third)
  t.same(given(third), ['b'])
})

t.test('a hasher that has to leave finishes what it has, and gets no more', async (t) => {
  const hashing = makeHashing(() => 10)
  const [worker, old, young] = [aChild(), aChild(), aChild()]
  hashing.join(old)
  hashing.ask(worker, 1, job('a'))
  hashing.leave(old, false)
  hashing.answer(old, { value: 'x' })
  t.same(answers(worker), [[1, { value: 'x' }]])
  hashing.ask(worker, 2, job('b'))
  hashing.leave(old, true)
  t.same(given(old), ['a'])
  hashing.join(young)
  t.same(given(young), ['b'])

  hashing.answer(young, { value: 'y' })
  hashing.leave(young, false)
  hashing.ask(worker, 3, job('c'))
  t.same(given(young), ['b'], 'nor one that was idle')
})

t.test('what a worker has asked leaves the line with it', async (t) => {
  const hashing = makeHashing(() => 10)
  const [gone, worker, hasher] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  hashing.ask(gone, 1, job('a'))
  hashing.ask(gone, 2, job('b'))
  hashing.ask(worker, 1, job('c'))
  hashing.forget(gone)
  hashing.answer(hasher, { value: 'x' })
  t.same(given(hasher), ['a', 'c'])
})

t.test('a question that nobody waits for leaves the line, unless it is being worked on', async (t) => {
  const hashing = makeHashing(() => 2)
  const [worker, other, hasher] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3]) hashing.ask(worker, id, job(`${id}`))
  hashing.drop(worker, 1)
  hashing.drop(other, 2)
  t.same(answers(worker), [], 'the first is with the hasher, the second is not theirs')
  hashing.drop(worker, 2)
  hashing.drop(worker, 2)
  t.same(answers(worker), [[2, { busy: 'the client has gone' }]])
  hashing.ask(worker, 4, job('4'))
  hashing.answer(hasher, { value: 'x' })
  hashing.answer(hasher, { value: 'y' })
  t.same(given(hasher), ['1', '3', '4'], 'there was room for another one')
})

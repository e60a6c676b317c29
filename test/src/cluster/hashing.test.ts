import t from 'tap'
import { makeHashing } from '../../../src/cluster/hashing.ts'
import type { Child, HashResult, Order } from '../../../src/cluster/messages.ts'

/** A process that keeps what it was told. */
function aChild(): Child & { readonly told: Order[] } {
  const told: Order[] = []
  return { pid: 0, told, tell: (order) => told.push(order) }
}
const job = (password: string) => ({ kind: 'hash', password }) as const

type Told = { readonly told: readonly Order[] }

/** The passwords a hasher was given, in order; the answers a worker got. */
const given = ({ told }: Told): string[] => told.flatMap((order) => (order.type === 'hash' ? [order.job.password] : []))
const answers = ({ told }: Told): unknown[] =>
  told.flatMap((order) => (order.type === 'hashed' ? [[order.id, order.result]] : []))

/** By what name it was given a password. */
const ticketOf = ({ told }: Told, password: string): number => {
  const order = told.findLast((each) => each.type === 'hash' && each.job.password === password)
  return order?.type === 'hash' ? order.id : Number.NaN
}

/** A hashing in which so many may wait, and how a hasher answers there. */
function open(most: () => number) {
  const hashing = makeHashing(most)
  const answer = (hasher: Child & Told, password: string, result: HashResult = { value: 'x' }): void =>
    hashing.answer(hasher, ticketOf(hasher, password), result)
  return { ...hashing, answer }
}

t.test('one line for all workers, one job in work and one at hand for each hasher', async (t) => {
  const hashing = open(() => 10)
  const [one, two, hasher, other] = [aChild(), aChild(), aChild(), aChild()]
  hashing.ask(one, 1, job('a'))
  hashing.ask(two, 1, job('b'))
  hashing.ask(one, 2, job('c'))
  hashing.join(hasher)
  t.same(given(hasher), ['a', 'b'], 'what waited is done as soon as somebody is there')
  hashing.join(other)
  t.same(given(other), ['c'])
  hashing.ask(two, 2, job('d'))
  hashing.ask(two, 3, job('e'))
  t.same(given(other), ['c', 'd'], 'at the hand that is free')
  hashing.answer(hasher, 'a', { value: 'digest of a' })
  t.same(given(hasher), ['a', 'b', 'e'])
  hashing.answer(other, 'c', { busy: 'no memory' })
  hashing.answer(hasher, 'b', { value: true })
  t.same(answers(one), [
    [1, { value: 'digest of a' }],
    [2, { busy: 'no memory' }]
  ])
  t.same(answers(two), [[1, { value: true }]], 'the same number, and another worker')
  hashing.answer(hasher, 'b', { value: true })
  hashing.answer(other, 'a', { value: true })
  t.equal(one.told.length + two.told.length, 3, 'nobody asked for that')
})

t.test('who is idle comes first', async (t) => {
  const hashing = open(() => 10)
  const [worker, hasher, other] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  hashing.join(other)
  for (const id of [1, 2, 3]) hashing.ask(worker, id, job(`${id}`))
  t.same([given(hasher), given(other)], [['1', '3'], ['2']])
  hashing.answer(other, '2')
  hashing.ask(worker, 4, job('4'))
  t.same(given(other), ['2', '4'])
})

t.test('one too many is refused at once', async (t) => {
  const hashing = open(() => 2)
  const [worker, hasher] = [aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3, 4]) hashing.ask(worker, id, job(`${id}`))
  t.same(
    answers(worker),
    [[4, { busy: '2 wait already', isFull: true }]],
    'one is worked on, two wait, of which one is at hand'
  )
  hashing.answer(hasher, '1')
  hashing.ask(worker, 5, job('5'))
  t.same(answers(worker).length, 2, 'and there is room again')
  hashing.ask(worker, 6, job('6'))
  t.same(answers(worker).length, 3, 'for one')
})

/** For how many logins it was told of room. */
const rooms = ({ told }: Told): unknown[] =>
  told.flatMap((order) => (order.type === 'room' ? [order.places ?? 'any'] : []))

t.test('who was refused is told of each place that is free, in turn', async (t) => {
  const hashing = open(() => 8)
  const [one, two, hasher] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) hashing.ask(one, id, job(`${id}`))
  hashing.ask(two, 1, job('x'))
  t.match([answers(one), answers(two)], [[[10]], [[1]]], 'one in work, eight wait')
  t.same([rooms(one), rooms(two)], [[], []])
  hashing.answer(hasher, '1')
  t.same([rooms(one), rooms(two)], [[1], []])
  hashing.ask(one, 11, job('11'))
  hashing.answer(hasher, '2')
  t.same([rooms(one), rooms(two)], [[1], [1]])
  hashing.ask(two, 2, job('y'))
  hashing.drop(one, 9)
  t.same([rooms(one), rooms(two)], [[1, 1], [1]], 'as when somebody gives one up')
  hashing.answer(hasher, '3')
  t.same(
    [rooms(one), rooms(two)],
    [
      [1, 1, 'any'],
      [1, 'any']
    ],
    'a quarter is free: nobody comes, though one was told'
  )
  hashing.answer(hasher, '4')
  t.equal(rooms(one).length + rooms(two).length, 5, 'they know')
})

t.test('a worker that is gone is told nothing, and leaves room', async (t) => {
  const hashing = open(() => 1)
  const [gone, worker, hasher] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3]) hashing.ask(gone, id, job(`${id}`))
  hashing.ask(worker, 1, job('x'))
  hashing.forget(gone)
  t.same(rooms(worker), [], 'the hasher has both')
  hashing.answer(hasher, '1')
  t.same([rooms(gone), rooms(worker)], [[], ['any']])
})

t.test('who is idle refuses nobody, however many wait', async (t) => {
  const hashing = open(() => 1)
  const [worker, hasher, other] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2]) hashing.ask(worker, id, job(`${id}`))
  hashing.join(other)
  hashing.ask(worker, 3, job('3'))
  t.same([given(hasher), given(other)], [['1', '2'], ['3']])
})

t.test('how many may wait can change', async (t) => {
  let most = 1
  const hashing = open(() => most)
  const worker = aChild()
  hashing.ask(worker, 1, job('a'))
  hashing.ask(worker, 2, job('b'))
  most = 2
  hashing.ask(worker, 3, job('c'))
  t.same(answers(worker), [[2, { busy: '1 wait already', isFull: true }]])
})

t.test('without any hasher as many wait', async (t) => {
  const hashing = open(() => 2)
  const worker = aChild()
  for (const id of [1, 2, 3]) hashing.ask(worker, id, job(`${id}`))
  t.same(answers(worker), [[3, { busy: '2 wait already', isFull: true }]])
})

t.test('a hasher that dies: its job is done by the next one, once', async (t) => {
  const hashing = open(() => 10)
  const [worker, first, second, third] = [aChild(), aChild(), aChild(), aChild()]
  hashing.join(first)
  for (const [id, password] of ['a', 'b', 'c'].entries()) hashing.ask(worker, id, job(password))
  hashing.leave(first, true)
  hashing.join(second)
  t.same(given(second), ['a', 'b'], 'both that it had come before what waits')
  hashing.leave(second, true)
  t.same(answers(worker), [[0, { busy: 'two hashers died of it' }]], 'only of what was in work')
  hashing.join(third)
  t.same(given(third), ['b', 'c'])
  hashing.leave(third, true)
  hashing.join(second)
  t.same(given(second).slice(2), ['b', 'c'], 'what was at hand before has a second try as well')
  hashing.leave(second, true)
  t.same(answers(worker).slice(1), [[1, { busy: 'two hashers died of it' }]])
})

t.test('a hasher that has to leave finishes what it has, and gets no more', async (t) => {
  const hashing = open(() => 10)
  const [worker, old, young] = [aChild(), aChild(), aChild()]
  hashing.join(old)
  hashing.ask(worker, 1, job('a'))
  hashing.leave(old, false)
  hashing.ask(worker, 2, job('b'))
  t.same(given(old), ['a'], 'though its hand is free')
  hashing.answer(old, 'a')
  t.same(answers(worker), [[1, { value: 'x' }]])
  hashing.leave(old, true)
  t.same(given(old), ['a'])
  hashing.join(young)
  t.same(given(young), ['b'])

  hashing.answer(young, 'b', { value: 'y' })
  hashing.leave(young, false)
  hashing.ask(worker, 3, job('c'))
  t.same(given(young), ['b'], 'nor one that was idle')
})

t.test('what a worker has asked leaves the line with it', async (t) => {
  const hashing = open(() => 10)
  const [gone, worker, hasher] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3]) hashing.ask(gone, id, job(`${id}`))
  hashing.ask(worker, 1, job('other'))
  hashing.forget(gone)
  hashing.answer(hasher, '1')
  hashing.answer(hasher, '2')
  t.same(given(hasher), ['1', '2', 'other'], 'but for what a hasher has')
  hashing.answer(hasher, 'other')
  t.same(answers(worker), [[1, { value: 'x' }]])
})

t.test('a question that nobody waits for leaves the line, unless a hasher has it', async (t) => {
  const hashing = open(() => 3)
  const [worker, other, hasher] = [aChild(), aChild(), aChild()]
  hashing.join(hasher)
  for (const id of [1, 2, 3, 4]) hashing.ask(worker, id, job(`${id}`))
  hashing.drop(worker, 1)
  hashing.drop(worker, 2)
  hashing.drop(other, 3)
  t.same(answers(worker), [], 'the first two are with the hasher, the third is not theirs')
  hashing.drop(worker, 3)
  hashing.drop(worker, 3)
  t.same(answers(worker), [[3, { busy: 'the client has gone' }]])
  for (const id of [5, 6]) hashing.ask(worker, id, job(`${id}`))
  t.same(answers(worker).slice(1), [[6, { busy: '3 wait already', isFull: true }]], 'there was room for another one')
  for (const id of [1, 2, 4, 5]) hashing.answer(hasher, `${id}`)
  t.same(given(hasher), ['1', '2', '4', '5'])
})

import t from 'tap'
import { makeBatch } from '../../../src/stores/batch.ts'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('what is asked in one turn is one call, also by who went on in it', async (t) => {
  const asked: string[][] = []
  const find = makeBatch(async (keys: readonly string[]) => {
    asked.push([...keys])
    return keys.map((key) => key.toUpperCase())
  })
  const later = Promise.resolve().then(() => find('c'))
  t.same(await Promise.all([find('a'), find('b'), later]), ['A', 'B', 'C'])
  t.same(await Promise.all([find('a'), find('a')]), ['A', 'A'])
  t.same(asked, [
    ['a', 'b', 'c'],
    ['a', 'a']
  ])
})

t.test('a turn does not wait for the one before', async (t) => {
  const answers: ((answer: readonly number[]) => void)[] = []
  const find = makeBatch((_: readonly number[]) => new Promise<readonly number[]>((resolve) => answers.push(resolve)))
  const first = find(1)
  await nextTurn()
  const second = find(2)
  await nextTurn()
  t.equal(answers.length, 2)
  answers[1]?.([2])
  t.equal(await second, 2)
  answers[0]?.([1])
  t.equal(await first, 1)
})

t.test('a call that fails, fails for all of its turn, and for no other', async (t) => {
  const find = makeBatch(async (keys: readonly string[]) => {
    if (keys.includes('bad')) throw new Error(`failed for ${keys}`)
    return keys
  })
  const failed = await Promise.allSettled([find('a'), find('bad')])
  t.match(failed, [
    { status: 'rejected', reason: { message: 'failed for a,bad' } },
    { status: 'rejected', reason: { message: 'failed for a,bad' } }
  ])
  t.equal(await find('a'), 'a')
})

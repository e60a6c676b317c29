import { mock } from 'node:test'
import t from 'tap'
import type { Report } from '../../../src/cluster/messages.ts'
import { makeRemoteHasher } from '../../../src/cluster/remote-hasher.ts'
import type { PasswordHasher } from '../../../src/passwords/hasher.ts'

const nobody = async (): Promise<never> => {
  throw new Error('this process does not hash')
}
const local: PasswordHasher = { hash: nobody, verify: nobody, needsRehash: (digest) => digest === 'old' }

/** Everything that is ready to run has run. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

function open() {
  const told: Report[] = []
  return { told, hasher: makeRemoteHasher(local, (report) => told.push(report)) }
}

t.test('a job goes out, and its own answer comes back', async (t) => {
  const { told, hasher } = open()
  const results = [hasher.hash('secret'), hasher.verify('secret', 'digest'), hasher.verify('secret', undefined)]
  t.same(told, [
    { type: 'hash', id: 1, job: { kind: 'hash', password: 'secret' } },
    { type: 'hash', id: 2, job: { kind: 'verify', password: 'secret', digest: 'digest' } },
    { type: 'hash', id: 3, job: { kind: 'verify', password: 'secret' } }
  ])
  hasher.settle(3, { value: false })
  hasher.settle(1, { value: 'the digest' })
  hasher.settle(2, { value: true })
  t.same(await Promise.all(results), ['the digest', true, false])
  hasher.settle(2, { value: false })
  hasher.settle(99, { value: true })
  t.pass('an answer nobody waits for is no harm')
})

t.test('what the hashers cannot do now is BUSY', async (t) => {
  const { hasher } = open()
  const result = hasher.hash('secret')
  hasher.settle(1, { busy: '64 wait already' })
  await t.rejects(result, { code: 'BUSY', status: 503, retryAfter: 1, detail: '64 wait already' })
})

t.test('while the line is full, all are refused before anything is done for them', async (t) => {
  const { told, hasher } = open()
  hasher.refuseIfFull()
  const results = [hasher.verify('a', 'digest'), hasher.verify('b', 'digest'), hasher.verify('c', 'digest')]
  for (const result of results) result.catch(() => {})
  hasher.settle(1, { busy: 'two hashers died of it' })
  hasher.refuseIfFull()
  hasher.settle(2, { busy: '64 wait already', isFull: true })
  const busy = { code: 'BUSY', status: 503, retryAfter: 1 }
  t.throws(() => hasher.refuseIfFull(), busy, 'from the moment it is heard')
  await t.rejects(results[1] as Promise<boolean>, { ...busy, detail: '64 wait already' })
  hasher.settle(3, { value: true })
  t.throws(() => hasher.refuseIfFull(), busy, 'that one had its place before')
  hasher.hearOfRoom(1)
  hasher.refuseIfFull()
  t.throws(() => hasher.refuseIfFull(), busy, 'room for one')
  hasher.hearOfRoom()
  for (let n = 0; n < 100; n++) hasher.refuseIfFull()
  hasher.settle(2, { busy: '64 wait already', isFull: true })
  hasher.hearOfRoom()
  await settled()
  hasher.refuseIfFull()
  t.equal(told.length, 3, 'both in the same moment')
})

t.test('so is what nobody answers in 15 seconds', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const { told, hasher } = open()
  const result = hasher.verify('secret', 'digest')
  const failed = t.rejects(result, { code: 'BUSY', detail: 'no hasher answered' })
  mock.timers.tick(15_000)
  await failed
  t.same(told.at(-1), { type: 'unhash', id: 1 }, 'nobody waits for it any more')
  hasher.settle(1, { value: true })
})

t.test('what needs no work is asked of this process', async (t) => {
  const { hasher } = open()
  t.equal(hasher.needsRehash('old'), true)
  t.equal(hasher.needsRehash('new'), false)
})

t.test('a client that has gone is told, and the answer says what became of it', async (t) => {
  const { told, hasher } = open()
  const gone = new AbortController()
  const results = [hasher.verify('a', 'digest', gone.signal), hasher.hash('b', gone.signal)]
  gone.abort()
  t.same(told.slice(2), [
    { type: 'unhash', id: 1 },
    { type: 'unhash', id: 2 }
  ])
  hasher.settle(1, { value: true })
  hasher.settle(2, { busy: 'the client has gone' })
  t.equal(await results[0], true, 'it was begun already')
  await t.rejects(results[1] as Promise<string>, { code: 'BUSY', detail: 'the client has gone' })
  await t.rejects(hasher.hash('c', gone.signal), { code: 'BUSY' })
  t.equal(told.length, 4, 'nothing is asked for who has gone before')
})

import { mock } from 'node:test'
import t from 'tap'
import type { Report } from '../../../src/cluster/messages.ts'
import { RemoteHasher } from '../../../src/cluster/remote-hasher.ts'
import type { PasswordHasher } from '../../../src/passwords/hasher.ts'

const fail = async (): Promise<never> => {
  throw new Error('this process does not hash')
}
const local: PasswordHasher = { hash: fail, verify: fail, needsRehash: (digest) => digest === 'old' }

/** Resolves when all pending microtasks have run. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

function open() {
  const sent: Report[] = []
  return { sent, hasher: new RemoteHasher(local, (report) => sent.push(report)) }
}

t.test('remote hasher: each job gets its own result', async (t) => {
  const { sent, hasher } = open()
  const results = [hasher.hash('secret'), hasher.verify('secret', 'digest'), hasher.verify('secret', undefined)]
  t.same(sent, [
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
  t.pass('a result that nothing waits for is ignored')
})

t.test('remote hasher: a refused job is BUSY', async (t) => {
  const { hasher } = open()
  const result = hasher.hash('secret')
  hasher.settle(1, { busy: '64 logins are already waiting' })
  await t.rejects(result, { code: 'BUSY', status: 503, retryAfter: 1, detail: '64 logins are already waiting' })
})

t.test('remote hasher: while the queue is full, logins are refused before any work is done for them', async (t) => {
  const { sent, hasher } = open()
  hasher.refuseIfFull()
  const results = [hasher.verify('a', 'digest'), hasher.verify('b', 'digest'), hasher.verify('c', 'digest')]
  for (const result of results) result.catch(() => {})
  hasher.settle(1, { busy: 'two hashers died while hashing this password' })
  hasher.refuseIfFull()
  hasher.settle(2, { busy: '64 logins are already waiting', isFull: true })
  const busy = { code: 'BUSY', status: 503, retryAfter: 1 }
  t.throws(() => hasher.refuseIfFull(), busy, 'from the moment the result arrives')
  await t.rejects(results[1] as Promise<boolean>, { ...busy, detail: '64 logins are already waiting' })
  hasher.settle(3, { value: true })
  t.throws(() => hasher.refuseIfFull(), busy, 'that job had its place before')
  hasher.addCapacity(1)
  hasher.refuseIfFull()
  t.throws(() => hasher.refuseIfFull(), busy, 'room for one')
  hasher.addCapacity()
  for (let n = 0; n < 100; n++) hasher.refuseIfFull()
  hasher.settle(2, { busy: '64 logins are already waiting', isFull: true })
  hasher.addCapacity()
  await settled()
  hasher.refuseIfFull()
  t.equal(sent.length, 3, 'a refusal and new capacity at the same time')
})

t.test('remote hasher: a job without a result in 15 seconds is BUSY, and cancelled', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const { sent, hasher } = open()
  const result = hasher.verify('secret', 'digest')
  const failed = t.rejects(result, { code: 'BUSY', detail: 'no hasher answered in 15 s' })
  mock.timers.tick(15_000)
  await failed
  t.same(sent.at(-1), { type: 'cancel', id: 1 })
  hasher.settle(1, { value: true })
})

t.test('remote hasher: needsRehash is answered by this process', async (t) => {
  const { hasher } = open()
  t.equal(hasher.needsRehash('old'), true)
  t.equal(hasher.needsRehash('new'), false)
})

t.test(
  'remote hasher: a client that disconnects cancels its job, and the result shows whether it was done',
  async (t) => {
    const { sent, hasher } = open()
    const disconnected = new AbortController()
    const results = [hasher.verify('a', 'digest', disconnected.signal), hasher.hash('b', disconnected.signal)]
    disconnected.abort()
    t.same(sent.slice(2), [
      { type: 'cancel', id: 1 },
      { type: 'cancel', id: 2 }
    ])
    hasher.settle(1, { value: true })
    hasher.settle(2, { busy: 'the client has disconnected' })
    t.equal(await results[0], true, 'a hasher had it already')
    await t.rejects(results[1] as Promise<string>, { code: 'BUSY', detail: 'the client has disconnected' })
    await t.rejects(hasher.hash('c', disconnected.signal), { code: 'BUSY' })
    t.equal(sent.length, 4, 'nothing is sent for a client that has disconnected before')
  }
)

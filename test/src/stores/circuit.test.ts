import t from 'tap'
import { makeCircuit, mostWaiting } from '../../../src/stores/circuit.ts'

const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1 }
const late = new Error('Command timed out')

/** A circuit before a store that answers, is late or refuses, as it is told to; time moves only with its calls. */
function open() {
  let state: 'up' | 'hung' | 'refusing' = 'up'
  let now = 0
  const asked = { calls: 0, probes: 0 }
  const answer = async (kind: keyof typeof asked): Promise<string> => {
    asked[kind] += 1
    if (state === 'refusing') throw new Error('connect ECONNREFUSED')
    if (state === 'up') return 'answer'
    now += 2000
    throw late
  }
  const circuit = makeCircuit({ name: 'Store', probe: () => answer('probes'), now: () => now })
  return {
    circuit,
    asked,
    call: () => circuit.run(() => answer('calls')),
    become(next: typeof state) {
      state = next
    },
    tick(ms: number) {
      now += ms
    }
  }
}

/** A promise that is settled by hand. */
function aPromise() {
  let resolve: (answer: string) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<string>((...functions) => {
    ;[resolve, reject] = functions
  })
  return { promise, resolve, reject }
}

/** One whose store has hung for so long that it is open. */
async function opened() {
  const store = open()
  store.become('hung')
  for (let each = 0; each < 3; each++) await store.call().catch(() => {})
  return store
}

t.test('what the store answers, and what it fails with, passes', async (t) => {
  const { call, become } = open()
  t.equal(await call(), 'answer')
  become('refusing')
  await t.rejects(call(), { message: 'connect ECONNREFUSED' })
  become('hung')
  await t.rejects(call(), late)
})

t.test('after time-outs in a row nobody waits any more', async (t) => {
  const { call, asked } = await opened()
  t.equal(asked.calls, 3)
  for (let each = 0; each < 10; each++) await t.rejects(call(), { ...down, detail: /^Store: it hangs/ })
  t.same(asked, { calls: 3, probes: 0 }, 'the store is left alone')
})

t.test('each driver, and the system, says in its own words that time was out', async (t) => {
  const words = [
    'Command timed out',
    "Socket timeout. Expecting data, but didn't receive any in 2500ms.",
    'Query read timeout',
    'timeout exceeded when trying to connect',
    'Connection terminated due to connection timeout',
    'connect ETIMEDOUT 10.0.0.1:6379'
  ]
  for (const message of words) {
    const { circuit, call } = open()
    for (let each = 0; each < 3; each++) await circuit.run(() => Promise.reject(new Error(message))).catch(() => {})
    await t.rejects(call(), down, message)
  }
})

t.test('time-outs with answers between them are a store that is slow', async (t) => {
  const { call, become } = open()
  for (let each = 0; each < 10; each++) {
    become(each % 3 === 2 ? 'up' : 'hung')
    await call().catch(() => {})
  }
  become('up')
  t.equal(await call(), 'answer')
})

t.test('what fails at once is asked again at once', async (t) => {
  const { call, become, asked } = open()
  become('refusing')
  for (let each = 0; each < 10; each++) await t.rejects(call(), { message: /ECONNREFUSED/ })
  t.equal(asked.calls, 10)
})

t.test('once a second somebody asks; the rest are refused until it is answered', async (t) => {
  const { call, become, asked, tick } = await opened()
  tick(1000)
  await t.rejects(call(), late, 'who asks waits for it')
  await t.rejects(call(), late, 'which took longer than a second')
  t.same(asked, { calls: 3, probes: 2 })
  become('refusing')
  tick(1000)
  await t.rejects(call(), { message: /ECONNREFUSED/ })
  await t.rejects(call(), down)
  become('up')
  tick(999)
  await t.rejects(call(), down)
  tick(1)
  t.equal(await call(), 'answer', 'who asks is answered')
  t.equal(await call(), 'answer', 'and so is everybody')
  t.same(asked, { calls: 5, probes: 4 })
})

t.test('it opens again as it did the first time', async (t) => {
  const { call, become, tick } = await opened()
  become('up')
  tick(1000)
  await call()
  become('hung')
  for (let each = 0; each < 3; each++) await t.rejects(call(), late)
  await t.rejects(call(), down)
})

t.test('who has waited since before the last answer does not count', async (t) => {
  const { circuit, call, tick } = open()
  const waiting = Array.from({ length: 5 }, () => {
    const { promise, reject } = aPromise()
    return { reject, call: circuit.run(() => promise) }
  })
  await Promise.resolve()
  tick(1)
  t.equal(await call(), 'answer')
  for (const { reject, call } of waiting) {
    reject(late)
    await t.rejects(call, late)
  }
  t.equal(await call(), 'answer')
})

t.test('only so many wait at once', async (t) => {
  const { circuit, call } = open()
  const { promise, resolve } = aPromise()
  const waiting = Array.from({ length: mostWaiting }, () => circuit.run(() => promise))
  await Promise.resolve()
  await t.rejects(call(), { ...down, detail: `Store: ${mostWaiting} calls wait already` })
  resolve('late')
  t.same(new Set(await Promise.all(waiting)), new Set(['late']))
  t.equal(await call(), 'answer')
})

t.test('a call that many wait for counts for all of them', async (t) => {
  const { circuit, call } = open()
  const { promise, resolve } = aPromise()
  const waiting = circuit.run(() => promise, mostWaiting)
  await Promise.resolve()
  await t.rejects(call(), { ...down, detail: `Store: ${mostWaiting} calls wait already` })
  resolve('late')
  t.equal(await waiting, 'late')
  t.equal(await call(), 'answer')
})

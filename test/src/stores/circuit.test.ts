import t from 'tap'
import { CircuitBreaker, type CircuitState, maxWaiting } from '../../../src/stores/circuit.ts'

const down = { name: 'KeyturnError', code: 'STORE_DOWN', retryAfter: 1 }
const late = new Error('Command timed out')

/** A circuit in front of a store that answers, hangs or refuses as `become` says; only hanging calls and `tick` move the time. */
function open() {
  let state: 'up' | 'hung' | 'refusing' = 'up'
  let now = 0
  const asked = { calls: 0, probes: 0 }
  const reported: (CircuitState | Error)[] = []
  const durations: [number, unknown][] = []
  const answer = async (kind: keyof typeof asked): Promise<string> => {
    asked[kind] += 1
    if (state === 'refusing') throw new Error('connect ECONNREFUSED')
    if (state === 'up') return 'answer'
    now += 2000
    throw late
  }
  const circuit = new CircuitBreaker({
    name: 'Redis',
    probe: () => answer('probes'),
    observer: {
      changed: (_name, state, cause) => void reported.push(state, ...(cause === undefined ? [] : [cause as Error])),
      called: (_name, ms, error) => void durations.push([ms, error])
    },
    now: () => now
  })
  return {
    circuit,
    asked,
    reported,
    durations,
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

/** A circuit that is open, because its store hangs. */
async function opened() {
  const store = open()
  store.become('hung')
  for (let each = 0; each < 3; each++) await store.call().catch(() => {})
  return store
}

t.test('closed: results and errors of the store pass', async (t) => {
  const { call, become, durations } = open()
  t.equal(await call(), 'answer')
  become('refusing')
  await t.rejects(call(), { message: 'connect ECONNREFUSED' })
  become('hung')
  await t.rejects(call(), late)
  t.match(durations, [
    [0, undefined],
    [0, { message: 'connect ECONNREFUSED' }],
    [2000, late]
  ])
})

t.test('closed: three time-outs in a row open the circuit, and no further call reaches the store', async (t) => {
  const { call, asked, reported } = await opened()
  t.equal(asked.calls, 3)
  for (let each = 0; each < 10; each++)
    await t.rejects(call(), { ...down, detail: 'Redis: circuit open; next probe in 1 s' })
  t.same(asked, { calls: 3, probes: 0 })
  t.same(reported, ['open', late])
})

t.test('closed: the time-outs of each driver and of the system count', async (t) => {
  const messages = [
    'Command timed out',
    "Socket timeout. Expecting data, but didn't receive any in 2500ms.",
    'Query read timeout',
    'timeout exceeded when trying to connect',
    'Connection terminated due to connection timeout',
    'connect ETIMEDOUT 10.0.0.1:6379'
  ]
  for (const message of messages) {
    const { circuit, call } = open()
    for (let each = 0; each < 3; each++) await circuit.run(() => Promise.reject(new Error(message))).catch(() => {})
    await t.rejects(call(), down, message)
  }
})

t.test('closed: time-outs with answers between them do not open the circuit', async (t) => {
  const { call, become } = open()
  for (let each = 0; each < 10; each++) {
    become(each % 3 === 2 ? 'up' : 'hung')
    await call().catch(() => {})
  }
  become('up')
  t.equal(await call(), 'answer')
})

t.test('closed: calls that fail at once do not open the circuit', async (t) => {
  const { call, become, asked } = open()
  become('refusing')
  for (let each = 0; each < 10; each++) await t.rejects(call(), { message: /ECONNREFUSED/ })
  t.equal(asked.calls, 10)
})

t.test('open: one call a second probes the store, and passes if it answers', async (t) => {
  const { call, become, asked, tick, reported } = await opened()
  tick(1000)
  await t.rejects(call(), late, 'the call that probes waits for the probe')
  await t.rejects(call(), late, 'which took longer than a second')
  t.same(asked, { calls: 3, probes: 2 })
  become('refusing')
  tick(1000)
  await t.rejects(call(), { message: /ECONNREFUSED/ })
  await t.rejects(call(), down)
  become('up')
  tick(999)
  await t.rejects(call(), down)
  t.same(reported, ['open', late])
  tick(1)
  t.equal(await call(), 'answer')
  t.same(asked, { calls: 4, probes: 4 })
  t.same(reported, ['open', late, 'half-open'])
})

t.test('open: the answer to a call from before is as good as that to a probe', async (t) => {
  const { circuit, call, become, reported } = open()
  const { promise, resolve } = aPromise()
  const waiting = circuit.run(() => promise)
  become('hung')
  for (let each = 0; each < 3; each++) await call().catch(() => {})
  resolve('answer')
  t.equal(await waiting, 'answer')
  t.same(reported, ['open', late, 'half-open'])
})

/** A circuit that has just become half-open. */
async function halfOpened() {
  const store = await opened()
  store.become('up')
  store.tick(1000)
  await store.call()
  return store
}

/** Calls that wait until the function that is returned is called. */
function keepWaiting(circuit: CircuitBreaker, count: number): () => Promise<readonly string[]> {
  const { promise, resolve } = aPromise()
  const waiting = Array.from({ length: count }, () => circuit.run(() => promise))
  return () => {
    resolve('answer')
    return Promise.all(waiting)
  }
}

t.test('half-open: a growing share of the calls passes for five seconds, then all of them', async (t) => {
  const { circuit, call, tick, reported } = await halfOpened()
  const answer = keepWaiting(circuit, 4)
  const shares: number[] = []
  for (let second = 0; second < 6; second++) {
    let passed = 0
    for (let ms = 0; ms < 1000; ms++) {
      passed += await call().then(
        () => 1,
        () => 0
      )
      tick(1)
    }
    shares.push(Math.round(passed / 10))
  }
  t.same(shares, [19, 37, 56, 74, 92, 100], 'percent, by the second')
  t.same(reported, ['open', late, 'half-open', 'closed'])
  await answer()
})

t.test('half-open: the calls that one request makes at once pass while no other request waits', async (t) => {
  const { circuit, tick } = await halfOpened()
  let answers = 0
  for (let ms = 0; ms < 5000; ms += 10) {
    tick(10)
    answers += (await keepWaiting(circuit, 4)()).length
  }
  t.equal(answers, 2000)
})

t.test('half-open: calls that come together pass or are refused together', async (t) => {
  const { circuit, call, tick } = await halfOpened()
  const answer = keepWaiting(circuit, 4)
  for (let each = 0; each < 3; each++) t.equal(await call(), 'answer')
  tick(50)
  for (let each = 0; each < 3; each++)
    await t.rejects(call(), { ...down, detail: 'Redis: circuit half-open; 10 % of calls pass' })
  await answer()
  t.equal(await call(), 'answer', 'a call that comes alone passes')
})

t.test('half-open: one time-out opens the circuit again', async (t) => {
  const { call, become, tick, reported } = await halfOpened()
  tick(1)
  become('hung')
  await t.rejects(call(), late)
  await t.rejects(call(), down)
  t.same(reported, ['open', late, 'half-open', 'open', late])
})

t.test('patience: a caller waits so long, and only one a second while nothing answers', async (t) => {
  const { circuit, call, asked, tick, reported } = open()
  const { promise, resolve } = aPromise()
  const patienceMs = 5
  let sent = 0
  const hang = () =>
    circuit.run(
      () => {
        sent += 1
        return promise
      },
      { patienceMs }
    )
  const [noAnswer, refused] = [
    { ...down, detail: 'Redis: no answer after 5 ms' },
    { ...down, detail: /a moment ago$/ }
  ]
  await Promise.all([t.rejects(hang(), noAnswer), t.rejects(hang(), noAnswer)])
  await t.rejects(hang(), refused)
  t.equal(sent, 2)
  tick(1000)
  await Promise.all([t.rejects(hang(), noAnswer), t.rejects(hang(), refused)])
  t.equal(sent, 3)
  t.equal(await call(), 'answer', 'a call without it passes')
  t.equal(await circuit.run(async () => 'answer', { patienceMs }), 'answer', 'and after an answer all of them')
  t.same(asked, { calls: 1, probes: 0 })
  t.same(reported, [], 'a caller without patience does not open the circuit')
  resolve('late')
})

t.test('patience: a failure of the store is passed on as it is', async (t) => {
  const { circuit } = open()
  const refuse = () => Promise.reject(new Error('ECONNREFUSED'))
  await t.rejects(circuit.run(refuse, { patienceMs: 1000 }), { message: 'ECONNREFUSED' })
})

t.test('closed: a time-out of a call that started before the last answer does not count', async (t) => {
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

t.test('a call is refused when too many wait', async (t) => {
  const { circuit, call } = open()
  const { promise, resolve } = aPromise()
  const waiting = Array.from({ length: maxWaiting }, () => circuit.run(() => promise))
  await Promise.resolve()
  await t.rejects(call(), { ...down, detail: `Redis: ${maxWaiting} calls are already waiting` })
  resolve('late')
  t.same(new Set(await Promise.all(waiting)), new Set(['late']))
  t.equal(await call(), 'answer')
})

t.test('a call counts for each of its callers', async (t) => {
  const { circuit, call } = open()
  const { promise, resolve } = aPromise()
  const waiting = circuit.run(() => promise, { callers: maxWaiting })
  await Promise.resolve()
  await t.rejects(call(), { ...down, detail: `Redis: ${maxWaiting} calls are already waiting` })
  resolve('late')
  t.equal(await waiting, 'late')
  t.equal(await call(), 'answer')
})

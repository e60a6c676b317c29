/* Logins and hashers: a hasher that dies, too many logins at once, and how little they slow down other requests. */
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { getPriority } from 'node:os'
import t from 'tap'
import { logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { serveCommand } from '../support/keyturn.ts'

t.setTimeout(900_000)

/** A password takes a quarter of a second, and ten times as long on a busy machine. */
const slow = { ARGON2_MEMORY: '65536', ARGON2_TIME: '6' }

interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  /** Milliseconds. */
  readonly ms: number
}

/** A login on a connection of its own. */
async function tryLogin({ url }: RunningArbiter): Promise<Answer> {
  const began = performance.now()
  const headers = { 'content-type': 'application/json' }
  const sent = request(`${url}/api/token/`, { method: 'POST', agent: false, headers }).end(JSON.stringify(login))
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  answer.resume()
  await once(answer, 'end')
  return {
    status: answer.statusCode ?? 0,
    retryAfter: answer.headers['retry-after'],
    ms: Math.round(performance.now() - began)
  }
}

t.test('hashers: when one is killed with logins in flight, the next one finishes them', async (t) => {
  const keyturn = await startArbiter(t, slow)
  await logIn(keyturn)
  const logins = Array.from({ length: 3 }, () => tryLogin(keyturn))
  // The hasher has begun the second one then.
  await Promise.race(logins)
  const hasher = keyturn.kill('hasher', 'SIGKILL')
  const answers = await Promise.all(logins)
  t.comment(`answered after ${answers.map(({ ms }) => ms)} ms`)
  t.strictSame(
    answers.map(({ status }) => status),
    [200, 200, 200],
    'the next hasher finishes its jobs'
  )
  t.match(
    keyturn.lines().find(({ msg }) => msg === 'hasher died; perhaps out of memory'),
    { hasher, signal: 'SIGKILL' }
  )
  t.equal(keyturn.ready('hasher').length, 1)
  t.notOk(keyturn.ready('hasher').includes(hasher))
  t.equal(await keyturn.stop(), 0)
  t.equal(keyturn.output().stderr, '')
})

t.test('hashers: one that is stopped is killed, and its login goes to the next one', async (t) => {
  const keyturn = await startArbiter(t, { TIMEOUT: '8' })
  await logIn(keyturn)
  const hasher = keyturn.kill('hasher', 'SIGSTOP')
  const { status, ms } = await tryLogin(keyturn)
  t.comment(`TIMEOUT 8 s: the login was answered after ${ms} ms`)
  t.equal(status, 200)
  t.match(
    keyturn.lines().find(({ hasher: pid, code }) => pid === hasher && code !== undefined),
    { signal: 'SIGKILL' }
  )
  t.equal(await keyturn.stop(), 0)
})

/** A verification of a token that is not one, on a connection of its own: milliseconds. */
async function timeVerify({ url }: RunningArbiter): Promise<number> {
  const began = performance.now()
  const headers = { 'content-type': 'application/json' }
  const sent = request(`${url}/api/token/verify/`, { method: 'POST', agent: false, headers }).end('{"token":"none"}')
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  answer.resume()
  await once(answer, 'end')
  return performance.now() - began
}

const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0

t.test('hashers: logins beyond the queue are refused at once, and other requests are served', async (t) => {
  const keyturn = await startArbiter(t, { HASH_QUEUE: '2' })
  await logIn(keyturn)
  // Nothing leaves the queue until it goes on.
  const hasher = keyturn.kill('hasher', 'SIGSTOP')
  const refused: Answer[] = []
  const logins = Array.from({ length: 10 }, async () => {
    const answer = await tryLogin(keyturn)
    if (answer.status === 503) refused.push(answer)
    return answer.status
  })
  await until(() => refused.length === 7, 'all but the one in work and the two that wait are refused')
  t.ok(refused.every(({ retryAfter = '' }) => /^[1-5]$/.test(retryAfter)))
  const others = [await timeVerify(keyturn), await timeVerify(keyturn), await timeVerify(keyturn)]
  process.kill(hasher, 'SIGCONT')
  t.comment(`refused after ${refused.map(({ ms }) => ms)} ms; meanwhile verified in ${others.map(Math.round)} ms`)
  t.strictSame((await Promise.all(logins)).toSorted(), [...Array(3).fill(200), ...Array(7).fill(503)])
  t.equal((await tryLogin(keyturn)).status, 200, 'there is room again')
  t.equal(await keyturn.stop(), 0)
})

/** As many logins as there are places, and one more: once one is refused, the others have theirs. */
async function fillTheLine(keyturn: RunningArbiter, count: number): Promise<Promise<Answer>[]> {
  const logins = Array.from({ length: count }, () => tryLogin(keyturn))
  const refused = logins.map(async (each) => {
    if ((await each).status !== 503) throw new Error('not refused')
  })
  await Promise.any(refused)
  return logins
}

/** How many logins wait for a hasher, as a scrape reports it. */
async function queueLength({ url }: RunningArbiter): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text()
  return Number(/^keyturn_hash_queue_length (\d+)$/m.exec(metrics)?.[1])
}

t.test('hashers: a login whose client has disconnected leaves the queue', async (t) => {
  const keyturn = await startArbiter(t, { HASH_QUEUE: '3' })
  await logIn(keyturn)
  const hasher = keyturn.kill('hasher', 'SIGSTOP')
  // Two are with the hasher, two in line, one is refused: all of them go.
  const impatient = Array.from({ length: 5 }, () => new AbortController())
  const answers = impatient.map(async ({ signal }) => {
    const headers = { 'content-type': 'application/json' }
    const init = { method: 'POST', headers, body: JSON.stringify(login), signal }
    return (await fetch(`${keyturn.url}/api/token/`, init)).status
  })
  t.equal(await Promise.any(answers), 503)
  for (const each of impatient) each.abort()
  t.equal((await Promise.allSettled(answers)).filter(({ status }) => status === 'rejected').length, 4)
  // The hasher has one in work and keeps the next, which counts as waiting.
  await until(async () => (await queueLength(keyturn)) === 1, 'those in line have left')
  const others: Promise<Answer>[] = []
  await until(async () => {
    // The worker refuses logins until it has heard that there is room again.
    others.push(tryLogin(keyturn))
    return (await queueLength(keyturn)) === 3
  }, 'there is room for two others')
  process.kill(hasher, 'SIGCONT')
  const statuses = (await Promise.all(others)).map(({ status }) => status)
  t.ok(statuses.filter((status) => status === 200).length >= 2, statuses.join())
  t.equal(await keyturn.stop(), 0)
})

t.test('hashers: refusing a login takes no longer than another cheap request', async (t) => {
  const keyturn = await startArbiter(t, { HASH_QUEUE: '1' })
  await logIn(keyturn)
  const hasher = keyturn.kill('hasher', 'SIGSTOP')
  const first = await fillTheLine(keyturn, 3)
  const refused: Answer[] = []
  const verified: number[] = []
  for (let index = 0; index < 41; index++) {
    refused.push(await tryLogin(keyturn))
    verified.push(await timeVerify(keyturn))
  }
  process.kill(hasher, 'SIGCONT')
  t.ok(refused.every(({ status }) => status === 503))
  const [refusal, verification] = [median(refused.map(({ ms }) => ms)), median(verified)]
  t.comment(`medians: refused in ${refusal} ms, verified in ${Math.round(verification)} ms`)
  // Compared with its neighbour, since a busy machine slows down both.
  t.ok(refusal < 5 * verification + 20, `${refusal} ms`)
  const statuses = (await Promise.all(first)).map(({ status }) => status)
  t.same(statuses.toSorted(), [200, 200, 503])
  t.equal(await keyturn.stop(), 0)
})

t.test('hashers: every thread runs at a lower priority than the workers', async (t) => {
  const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '3' })
  const [workers, hashers] = [keyturn.ready('worker'), keyturn.ready('hasher')]
  t.equal(hashers.length, 2, 'one for two workers')
  const threadsOf = (pid: number): number[] =>
    process.platform === 'linux' ? readdirSync(`/proc/${pid}/task`).map(Number) : [pid]
  const worker = getPriority(workers[0])
  for (const thread of hashers.flatMap(threadsOf))
    t.ok(getPriority(thread) > worker, 'each thread: Linux counts it for itself')
  if (process.platform === 'linux')
    t.match(readFileSync(`/proc/${hashers[0]}/environ`, 'utf8'), /\0UV_THREADPOOL_SIZE=1\0/, 'one thread that hashes')
  keyturn.child.kill('SIGTTOU')
  await until(() => keyturn.ready('worker').length === 2)
  t.equal(keyturn.ready('hasher').length, 2, 'as many as configured')
  t.equal(await keyturn.stop(), 0)
})

t.test('hashers: their priority is relative to that of the service', async (t) => {
  const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' }, { command: ['nice', '-n', '12', ...serveCommand] })
  const [worker, hasher] = [keyturn.ready('worker')[0], keyturn.ready('hasher')[0]]
  t.strictSame([getPriority(worker), getPriority(hasher)], [12, 19], 'to come up to 10 would take rights')
  t.equal(await keyturn.stop(), 0)
})

/* Logins and the processes that check their passwords: one that dies, too many at once, and how little the others mind. */
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { getPriority } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'
import { serveCommand } from '../support/keyturn.ts'
import { atMost } from '../support/slack.ts'

t.setTimeout(300_000)

/** A password takes a quarter of a second, and ten times as long where the machine is busy. */
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

t.test('a hasher that is killed with logins in flight', async (t) => {
  const keyturn = await startArbiter(t, slow)
  await logIn(keyturn)
  const logins = Array.from({ length: 3 }, () => tryLogin(keyturn))
  await delay(300)
  const hasher = keyturn.kill('hasher', 'SIGKILL')
  const answers = await Promise.all(logins)
  t.comment(`answered after ${answers.map(({ ms }) => ms)} ms`)
  t.strictSame(
    answers.map(({ status }) => status),
    [200, 200, 200],
    'the next hasher does what it had'
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

t.test('a hasher that is stopped', async (t) => {
  const keyturn = await startArbiter(t, { TIMEOUT: '4' })
  await logIn(keyturn)
  const hasher = keyturn.kill('hasher', 'SIGSTOP')
  const { status, ms } = await tryLogin(keyturn)
  t.comment(`TIMEOUT 4 s: the login was answered after ${ms} ms`)
  t.equal(status, 200)
  t.match(
    keyturn.lines().find(({ hasher: pid, code }) => pid === hasher && code !== undefined),
    { signal: 'SIGKILL' }
  )
  t.equal(await keyturn.stop(), 0)
})

t.test('more logins than can wait', async (t) => {
  const keyturn = await startArbiter(t, { ...slow, HASH_QUEUE: '2' })
  const { access } = await logIn(keyturn)
  const logins = Array.from({ length: 10 }, () => tryLogin(keyturn))
  const verify = async (): Promise<number> => {
    const began = performance.now()
    const body = JSON.stringify({ token: access })
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${keyturn.url}/api/token/verify/`, { method: 'POST', headers, body })
    t.equal(answer.status, 200)
    return performance.now() - began
  }
  const others = [await verify(), await verify(), await verify()]
  const answers = await Promise.all(logins)
  const [taken, refused] = [200, 503].map((code) => answers.filter(({ status }) => status === code)) as [
    Answer[],
    Answer[]
  ]
  t.comment(
    `10 logins, one hasher, 2 may wait: ${taken.length} answered after ${taken.map(({ ms }) => ms)} ms, ` +
      `${refused.length} refused after ${refused.map(({ ms }) => ms)} ms; meanwhile verified in ${others.map(Math.round)} ms`
  )
  t.equal(taken.length + refused.length, 10)
  t.ok(taken.length >= 3 && refused.length >= 5)
  t.ok(refused.every(({ retryAfter }) => retryAfter === '1'))
  t.ok(
    Math.max(...refused.map(({ ms }) => ms)) < Math.min(...taken.map(({ ms }) => ms)),
    'refused at once, not after a wait'
  )
  t.equal((await tryLogin(keyturn)).status, 200, 'there is room again')
  t.equal(await keyturn.stop(), 0)
})

/** So many logins at once, one more than find a place: once that one is refused, the others have theirs. */
async function fillTheLine(keyturn: RunningArbiter, count: number): Promise<Promise<Answer>[]> {
  const logins = Array.from({ length: count }, () => tryLogin(keyturn))
  const refused = logins.map(async (each) => {
    if ((await each).status !== 503) throw new Error('not refused')
  })
  await Promise.any(refused)
  return logins
}

t.test('a login whose client has gone is not hashed', async (t) => {
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
  const others: Promise<Answer>[] = []
  let waiting = 0
  await until(
    async () => {
      const other = tryLogin(keyturn)
      others.push(other)
      if ((await Promise.race([other, delay(500, 'waits')])) === 'waits') waiting += 1
      return waiting === 2
    },
    15,
    'there is room for two others'
  )
  process.kill(hasher, 'SIGCONT')
  const statuses = (await Promise.all(others)).map(({ status }) => status)
  t.ok(statuses.filter((status) => status === 200).length >= 2, statuses.join())
  t.equal(await keyturn.stop(), 0)
})

t.test('a refusal takes no time', async (t) => {
  const keyturn = await startArbiter(t, { HASH_QUEUE: '1' })
  await logIn(keyturn)
  const hasher = keyturn.kill('hasher', 'SIGSTOP')
  const first = await fillTheLine(keyturn, 3)
  const refused: Answer[] = []
  for (let index = 0; index < 41; index++) refused.push(await tryLogin(keyturn))
  process.kill(hasher, 'SIGCONT')
  t.ok(refused.every(({ status }) => status === 503))
  const times = refused.map(({ ms }) => ms).toSorted((a, b) => a - b)
  t.comment(`refused within ${times[20]} ms (median), ${times.at(-1)} ms at most`)
  t.ok((times[20] ?? 0) < atMost(50), `${times[20]} ms`)
  const statuses = (await Promise.all(first)).map(({ status }) => status)
  t.same(statuses.toSorted(), [200, 200, 503])
  t.equal(await keyturn.stop(), 0)
})

t.test('hashers yield to workers', async (t) => {
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
  await until(() => keyturn.ready('worker').length === 2, 20)
  t.equal(keyturn.ready('hasher').length, 2, 'as many as configured')
  t.equal(await keyturn.stop(), 0)
})

t.test('hashers yield to workers that yield to others', async (t) => {
  const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '1' }, { command: ['nice', '-n', '12', ...serveCommand] })
  const [worker, hasher] = [keyturn.ready('worker')[0], keyturn.ready('hasher')[0]]
  t.strictSame([getPriority(worker), getPriority(hasher)], [12, 19], 'to come up to 10 would take rights')
  t.equal(await keyturn.stop(), 0)
})

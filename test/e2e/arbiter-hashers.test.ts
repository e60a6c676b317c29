/* Logins and the processes that check their passwords: one that dies, too many at once, and how little the others mind. */
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { getPriority } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { logIn, login, type RunningArbiter, startArbiter, until } from '../support/arbiter.ts'

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

t.test('hashers yield to workers', async (t) => {
  const keyturn = await startArbiter(t, { WEB_CONCURRENCY: '3' })
  const [workers, hashers] = [keyturn.ready('worker'), keyturn.ready('hasher')]
  t.equal(hashers.length, 2, 'one for two workers')
  const threadsOf = (pid: number): number[] =>
    process.platform === 'linux' ? readdirSync(`/proc/${pid}/task`).map(Number) : [pid]
  const worker = getPriority(workers[0])
  for (const thread of hashers.flatMap(threadsOf))
    t.ok(getPriority(thread) > worker, 'each thread: Linux counts it for itself')
  keyturn.child.kill('SIGTTOU')
  await until(() => keyturn.ready('worker').length === 2, 20)
  t.equal(keyturn.ready('hasher').length, 2, 'as many as configured')
  t.equal(await keyturn.stop(), 0)
})

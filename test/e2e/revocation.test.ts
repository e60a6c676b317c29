/*
 * How soon a revocation is known everywhere on one host: log out at one process, then verify in a tight loop at all of them.
 * The suite revokes 40 sessions; KEYTURN_REVOCATIONS=1000 revokes more.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { logIn, startArbiter, untilGone } from '../support/arbiter.ts'
import { basic } from '../support/client.ts'
import { type EventReader, readEvents } from '../support/events.ts'
import { aDataDir, type RunningKeyturn, runKeyturn, startKeyturn, post } from '../support/keyturn.ts'
import { needsRedis, withoutRedis } from '../support/needs.ts'

const count = Number(process.env.KEYTURN_REVOCATIONS ?? 40)
const processes = 3

const verify = async (worker: RunningKeyturn, token: string): Promise<number> =>
  (await post(`${worker.url}/api/token/verify/`, { token })).status

/** Milliseconds from the logout's answer until the last time a worker accepted the access token. */
async function measure(workers: readonly RunningKeyturn[], login: Record<string, string>): Promise<number> {
  const [first] = workers as [RunningKeyturn]
  const logout = await post(`${first.url}/api/token/blacklist/`, { refresh: login.refresh ?? '' })
  const answered = performance.now()
  if (logout.status !== 200) throw new Error(`logout answered ${logout.status}`)
  const untilRefused = async (worker: RunningKeyturn): Promise<number> => {
    let accepted = 0
    while (true) {
      const began = performance.now()
      if ((await verify(worker, login.access ?? '')) !== 200) return accepted
      accepted = began - answered
    }
  }
  return Math.max(...(await Promise.all(workers.map(untilRefused))))
}

async function suite(t: Test, env: Record<string, string>): Promise<void> {
  const password = 'correct horse'
  t.equal((await runKeyturn(['users', 'create', 'vitor'], env, password)).code, 0)
  const workers = await Promise.all(Array.from({ length: processes }, () => startKeyturn(t, env)))
  const times: number[] = []
  for (let index = 0; index < count; index++) {
    const worker = workers[index % processes] as RunningKeyturn
    const login = await post(`${worker.url}/api/token/`, { username: 'vitor', password })
    const accepted = await Promise.all(workers.map((each) => verify(each, login.body.access ?? '')))
    t.same(accepted, [200, 200, 200])
    times.push(await measure([worker, ...workers.filter((each) => each !== worker)], login.body))
  }
  times.sort((a, b) => a - b)
  const [p50, p99, most] = [0.5, 0.99, 1].map((part) => (times[Math.ceil(times.length * part) - 1] ?? 0).toFixed(1))
  t.comment(
    `${count} revocations, ${processes} processes: accepted for ${p50} ms (median), ${p99} ms (p99), ${most} ms (longest)`
  )
  for (const worker of workers) t.equal(await worker.stop(), 0)
}

t.test('on the embedded store', { timeout: 600_000 }, (t) => suite(t, { DATA_DIR: aDataDir(t) }))

t.test('on Redis', { skip: withoutRedis(), timeout: 600_000 }, async (t) => {
  const redis = await needsRedis(t, { tcp: true })
  await suite(t, { DATA_DIR: aDataDir(t), REDIS_URL: redis.url })
})

async function streams(t: Test, env: Record<string, string>): Promise<void> {
  const keyturn = await startArbiter(t, env)
  const { url, settings } = keyturn
  const created = await runKeyturn(['clients', 'create', 'orders', '--scopes', 'keyturn.revocations'], settings)
  const authorization = basic('orders', created.stdout.trim())
  const open = async (cursor = ''): Promise<EventReader> => {
    for (;;) {
      const reader = await readEvents(t, `${url}/api/revocations/`, { authorization, 'last-event-id': cursor })
      // A worker reads the clients once a second: until then it does not know the new one.
      if (reader.status === 200) return reader
      reader.close()
      await delay(250)
    }
  }
  await logIn(keyturn)
  /** Logs in and out again; the stream that was open before has the session. */
  const logOut = async (reader: EventReader): Promise<string> => {
    const seen = reader.events.length
    const { body } = await post(`${url}/api/token/`, { username: 'vitor', password: 'correct horse' })
    t.equal((await post(`${url}/api/token/blacklist/`, { refresh: body.refresh ?? '' })).status, 200)
    const { id, data } = await reader.next('revoked', seen)
    t.match(data, [{ sid: JSON.parse(Buffer.from(body.access?.split('.')[1] ?? '', 'base64url').toString()).sid }])
    return id ?? ''
  }
  /** What another worker sends of it: nothing again, and nothing is lost. */
  const resume = async (cursor: string): Promise<EventReader> => {
    const reader = await open(cursor)
    t.equal((await reader.next('caught-up')).id, cursor)
    t.equal(reader.events[0]?.event, 'caught-up', 'the new worker continues, without a snapshot')
    await logOut(reader)
    return reader
  }

  const first = await open()
  await first.next('caught-up')
  let cursor = await logOut(first)
  keyturn.child.kill('SIGHUP')
  t.equal(await first.ended, true, 'a reload ends the stream completely')
  t.match(first.text(), /\n\nretry: 100\n\n$/)
  await keyturn.next('Keyturn reloaded', 0)

  const second = await resume(cursor)
  cursor = second.events.findLast(({ event }) => event === 'revoked')?.id ?? ''
  const workers = keyturn.ready('worker')
  for (const pid of workers) process.kill(pid, 'SIGKILL')
  t.equal(await second.ended, false, 'that of a worker that is killed is cut')
  await untilGone(workers)
  const third = await resume(cursor)
  const began = performance.now()
  t.equal(await keyturn.stop(), 0)
  t.equal(await third.ended, true)
  t.ok(performance.now() - began < 15_000, 'a stop does not wait for streams until GRACEFUL_TIMEOUT is over')
}

t.test('streams through a reload, a killed worker and a stop, on the embedded store', (t) => streams(t, {}))

t.test('streams through the same on Redis', { skip: withoutRedis() }, async (t) => {
  const redis = await needsRedis(t, { tcp: true })
  await streams(t, { REDIS_URL: redis.url })
})

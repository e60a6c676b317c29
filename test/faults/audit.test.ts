/*
 * Acts while workers, the arbiter and PostgreSQL are killed: every act that a client was answered has its entry in the audit trail,
 * and the chain is whole. ACTS=10000 makes it longer.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { login, type RunningArbiter, startArbiter, until, untilGone } from '../support/arbiter.ts'
import { runKeyturn } from '../support/keyturn.ts'
import { withoutPostgres, withoutRedis } from '../support/needs.ts'
import { openScope, openServers, type ServersWorld } from './worlds.ts'

const areGiven = process.env.TEST_REDIS_URL !== undefined || process.env.TEST_DATABASE_URL !== undefined
const skip = areGiven ? 'it needs servers of its own' : withoutRedis() || withoutPostgres()
const wanted = Number(process.env.ACTS ?? 400)

/** How many clients act at the same time, and how long one waits after a failure, in milliseconds. */
const [actors, retryPause] = [8, 20]

/** Logs in and out until `isOver`, and keeps the id of each request that was answered 200. */
async function act(name: string, urlOf: () => string, answered: Set<string>, isOver: () => boolean): Promise<void> {
  let count = 0
  const send = async (path: string, body: object): Promise<Record<string, string> | undefined> => {
    count += 1
    const id = `act-of-client-${name}-number-${count}`
    try {
      const answer = await fetch(`${urlOf()}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-request-id': id },
        body: JSON.stringify(body)
      })
      const tokens = (await answer.json()) as Record<string, string>
      if (answer.status === 200) {
        answered.add(id)
        return tokens
      }
    } catch {
      // Its worker was killed: the client cannot know what became of it.
    }
    await delay(retryPause)
    return undefined
  }
  while (!isOver()) {
    const tokens = await send('/api/token/', login)
    if (tokens !== undefined) await send('/api/token/blacklist/', { refresh: tokens.refresh })
  }
}

t.test('every acknowledged act has its entry, whatever is killed', { skip, timeout: 3_600_000 }, async (t) => {
  const scope = openScope()
  t.teardown(() => scope.close())
  const world = await openServers({ RATE_LIMIT_OBTAIN: 'off', LOGIN_BACKOFF: 'off' })
  t.teardown(() => world.close())
  await world.clients.stop()
  let keyturn: RunningArbiter = world.keyturn
  const answered = new Set<string>()
  let isOver = false
  const acting = Promise.all(
    Array.from({ length: actors }, (_, each) =>
      act(
        String(each),
        () => keyturn.url,
        answered,
        () => isOver
      )
    )
  )

  const kills: Readonly<Record<string, (world: ServersWorld) => Promise<void>>> = {
    async 'a worker'() {
      keyturn.kill('worker', 'SIGKILL')
    },
    async 'all workers'() {
      for (const pid of keyturn.ready('worker')) process.kill(pid, 'SIGKILL')
    },
    async PostgreSQL({ postgres }) {
      await postgres.kill()
      await postgres.restart()
    },
    async 'the arbiter'() {
      const pids = [keyturn.pid, ...keyturn.ready('worker'), ...keyturn.ready('hasher')]
      process.kill(keyturn.pid, 'SIGKILL')
      await untilGone(pids)
      keyturn = await startArbiter(scope, keyturn.settings)
    }
  }
  let rounds = 0
  for (let next = 0; answered.size < wanted || rounds < 2; rounds++) {
    for (const kill of Object.values(kills)) {
      next = answered.size + Math.min(wanted / 20, 100)
      await until(() => answered.size >= next && keyturn.ready('worker').length > 0, `${next} acts are answered`)
      await kill(world)
    }
  }
  isOver = true
  await acting
  await until(() => keyturn.ready('worker').length > 0)

  const { stdout } = await runKeyturn(['audit', 'tail', '-n', '1000000', '--json'], keyturn.settings)
  const entries = stdout
    .trim()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line))
  const recorded = new Set(entries.map(({ request_id }) => request_id))
  const missing = [...answered].filter((id) => !recorded.has(id))
  t.comment(
    `${answered.size} acts answered, ${rounds * Object.keys(kills).length} kills, ${entries.length} entries; ` +
      `acts without an entry: ${missing.length}`
  )
  t.same(missing, [], 'no acknowledged act is without its entry')
  t.match(await runKeyturn(['audit', 'verify'], keyturn.settings), { code: 0 }, 'no entry is out of the chain')
})

/*
 * Logins that race with what ends them, on the embedded stores and on Redis with PostgreSQL. Two workers share the stores: one
 * serves the logins, the other one the change. RACE_ROUNDS=200 runs more rounds than the default.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openPostgres } from '../../../src/stores/sql/postgres.ts'
import { migrate } from '../../../src/stores/sql/migrate.ts'
import { makePendingLogouts } from '../../../src/stores/sql/pending-logouts.ts'
import { makeUserImport } from '../../../src/stores/sql/user-import.ts'
import { systemClock } from '../../../src/time.ts'
import { finishLogouts } from '../../../src/users/pending-logouts.ts'
import { openApp, type TestApp } from '../../support/app.ts'
import { needsPostgres, needsRedis, withoutPostgres, withoutRedis } from '../../support/needs.ts'
import { atMost } from '../../support/slack.ts'

const rounds = Number(process.env.RACE_ROUNDS ?? 5)

interface Pair {
  readonly access: string
  readonly refresh: string
}

/** Two workers over the same stores. */
interface Workers {
  /** Serves the logins. */
  readonly login: TestApp
  /** Serves what changes users. */
  readonly change: TestApp
}

const openWorkers = async (t: Test, env: Record<string, string>): Promise<Workers> => {
  const shared = { LOGIN_BACKOFF: 'off', DATA_DIR: t.testdir(), ...env }
  return { login: await openApp(t, shared), change: await openApp(t, shared) }
}

const openShared = async (t: Test): Promise<Workers> => {
  const redis = await needsRedis(t, { tcp: true })
  const postgres = await needsPostgres(t)
  const database = openPostgres(postgres.url)
  await migrate(database)
  await database.close()
  const KEY_ENCRYPTION_SECRET = 'a secret that both workers have in common'
  return await openWorkers(t, { REDIS_URL: redis.url, DATABASE_URL: postgres.url, KEY_ENCRYPTION_SECRET })
}

const bearing = (access: string): Record<string, string> => ({ authorization: `Bearer ${access}` })

const logIn = async ({ post }: TestApp, username: string, password: string): Promise<Pair | number> => {
  const answer = await post('/api/token/', { username, password })
  return answer.statusCode === 200 ? answer.json<Pair>() : answer.statusCode
}

/** Asks again until `isReached`, or until that takes too long: the last answer. */
async function until<T>(ask: () => Promise<T>, isReached: (answer: T) => boolean): Promise<T> {
  const end = performance.now() + atMost(5_000)
  for (;;) {
    const answer = await ask()
    if (isReached(answer) || performance.now() > end) return answer
    await delay(10)
  }
}

/** Something that ends what an old password may start, and whether the new password logs in afterwards. */
interface Change {
  readonly name: string
  readonly newStatus: 200 | 401
  run(worker: TestApp, user: { id: string; username: string }, passwords: Passwords): Promise<void>
}

interface Passwords {
  readonly old: string
  readonly next: string
}

const changes: readonly Change[] = [
  {
    name: 'POST /api/password/',
    newStatus: 200,
    async run(worker, { username }, { old, next }) {
      const caller = (await logIn(worker, username, old)) as Pair
      const body = { current_password: old, new_password: next }
      const { statusCode } = await worker.post('/api/password/', body, bearing(caller.access))
      if (statusCode !== 204) throw new Error(`the password change was answered ${statusCode}`)
    }
  },
  {
    name: 'users set-password',
    newStatus: 200,
    async run({ app: { stores, hasher } }, { id }, { next }) {
      await stores.users.setPassword(id, await hasher.hash(next))
      await stores.sessions.revokeAll(id)
    }
  },
  {
    name: 'users import --update',
    newStatus: 200,
    async run({ app: { stores, hasher } }, { id, username }, { next }) {
      const none = { isActive: undefined, createdAt: undefined, lastLoginAt: undefined, claims: undefined }
      const user = { id, username, passwordHash: await hasher.hash(next), ...none }
      await makeUserImport(stores.database, systemClock).place([user], { update: true })
      await finishLogouts(makePendingLogouts(stores.database), (user) => stores.sessions.revokeAll(user.id))
    }
  },
  {
    name: 'users deactivate',
    newStatus: 401,
    async run({ app: { stores } }, { id }) {
      await stores.users.setActive(id, false)
      await stores.sessions.revokeAll(id)
    }
  },
  {
    name: 'users delete',
    newStatus: 401,
    async run({ app: { stores } }, { id }) {
      await stores.users.setActive(id, false)
      await stores.sessions.revokeAll(id)
      await stores.users.delete(id)
      await stores.sessions.revokeAll(id)
    }
  }
]

/** Three clients log in without a pause while `change` runs, and once more each after it: the pairs that they were given. */
async function race(worker: TestApp, username: string, password: string, change: () => Promise<void>) {
  const pairs: Pair[] = []
  const failures: number[] = []
  let isDone = false
  const client = async (): Promise<void> => {
    for (let isLast = false; !isLast; ) {
      isLast = isDone
      const answer = await logIn(worker, username, password)
      if (typeof answer === 'number') failures.push(answer)
      else pairs.push(answer)
    }
  }
  const clients = Promise.all([client(), client(), client()])
  await until(
    async () => pairs.length,
    (length) => length > 2
  )
  await change()
  isDone = true
  await clients
  return { pairs, failures }
}

async function sessionRounds(t: Test, { login, change: changer }: Workers): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const { name, newStatus, run } = changes[round % changes.length] as Change
    const username = `user ${round}`
    const passwords = { old: `old horse ${round}`, next: `new horse ${round}` }
    const user = await changer.addUser(username, passwords.old)
    const { pairs, failures } = await race(login, username, passwords.old, () => run(changer, user, passwords))
    const about = `round ${round}, ${name}`
    t.ok(pairs.length >= 3, `${about}: ${pairs.length} logins before it`)
    t.same(new Set(failures), new Set([401]), `${about}: the old password is refused after it`)
    const statuses = async (): Promise<number[]> => {
      const asked = pairs.flatMap(({ access, refresh }) => [
        login.post('/api/token/refresh/', { refresh }),
        login.post('/api/token/verify/', { token: access }),
        changer.post('/api/token/verify/', { token: access })
      ])
      return (await Promise.all(asked)).map(({ statusCode }) => statusCode)
    }
    // A worker follows the revocations of the other one with a delay.
    const answers = await until(statuses, (all) => all.every((status) => status === 401))
    t.same(new Set(answers), new Set([401]), `${about}: none of ${pairs.length} sessions refreshes or verifies`)
    const next = await logIn(changer, username, passwords.next)
    t.equal(typeof next === 'number' ? next : 200, newStatus, `${about}: the new password`)
  }
}

async function passwordRounds(t: Test, { login, change }: Workers): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const username = `changer ${round}`
    const old = `old horse ${round}`
    await change.addUser(username, old)
    const candidates = [0, 1, 2].map((each) => `new horse ${each} of ${round}`)
    const callers = await Promise.all(candidates.map(() => logIn(login, username, old)))
    const statuses = await Promise.all(
      candidates.map(async (wanted, index) => {
        const body = { current_password: old, new_password: wanted }
        const { access } = callers[index] as Pair
        const worker = index % 2 === 0 ? login : change
        const answer = await worker.post('/api/password/', body, bearing(access))
        return `${answer.statusCode} ${answer.body}`
      })
    )
    const refused = '400 {"current_password":["This is not the current password."]}'
    t.same(statuses.toSorted(), ['204 ', refused, refused], `round ${round}: one change wins`)
    const works = await Promise.all([old, ...candidates].map((each) => logIn(login, username, each)))
    t.same(
      works.map((answer) => typeof answer !== 'number'),
      [false, ...statuses.map((status) => status === '204 ')],
      `round ${round}: its password is the one that logs in`
    )
  }
}

/** As long as many rounds take on a busy machine. */
const patient = { timeout: 3_600_000 }

const stores = [
  { name: 'embedded', skip: false as const, open: (t: Test) => openWorkers(t, {}) },
  { name: 'Redis and PostgreSQL', skip: withoutRedis() || withoutPostgres(), open: openShared }
]

for (const { name, skip, open } of stores) {
  t.test(name, { skip, ...patient }, async (t) => {
    const workers = await open(t)
    await t.test('login: a session begun with an old password does not outlive its change', patient, (t) =>
      sessionRounds(t, workers)
    )
    await t.test('password: of several changes with the same current password one succeeds', patient, (t) =>
      passwordRounds(t, workers)
    )
  })
}

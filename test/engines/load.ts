/** Clients that log in, refresh and log out without a pause, and what became of each session. For tests of servers that fail. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import type { Revocations } from '../../src/sessions/revocations.ts'
import type { RotationVerdict } from '../../src/sessions/rotation.ts'
import type { SessionStore } from '../../src/sessions/store.ts'
import { openStores, type Stores } from '../../src/stores/open.ts'
import { openRedis } from '../../src/stores/redis/client.ts'
import { systemClock } from '../../src/time.ts'
import { aReplica, aToken, follow, login, until } from '../conformance/feed.ts'
import { aDataDir } from '../support/keyturn.ts'
import { aDevice } from '../support/makers.ts'

/** The stores as the application opens them for this REDIS_URL; closed with `t`. */
export async function openStoresAt(
  t: Pick<Test, 'teardown'>,
  url: string,
  env: Record<string, string> = {}
): Promise<Stores> {
  const stores = await openStores(loadConfig({ DATA_DIR: aDataDir(t), REDIS_URL: url, ...env }), systemClock)
  t.teardown(() => stores.close())
  return stores
}

/** Resolves with whether a replica has all that the server of this user has written until now. */
export type Confirm = (userId: string) => Promise<boolean>

/** Confirms with a write of its own, since WAIT is for what its connection has written. */
export async function openConfirm(t: Pick<Test, 'teardown'>, url: string): Promise<Confirm> {
  const redis = await openRedis(url, { verifyTls: true })
  t.teardown(() => redis.disconnect())
  return async (userId) => {
    const key = `keyturn-test:{${userId}}`
    const replies = await redis.pipeline().set(key, '1', 'EX', 60).wait(1, 500).exec()
    return replies?.[0]?.[0] === null && Number(replies[1]?.[1]) >= 1
  }
}

/** One session, from its login to its logout. */
export interface Life {
  readonly userId: string
  readonly sid: string
  /** The newest generation its client was given. */
  generation: number
  /** A replica has its login. */
  isConfirmed: boolean
  /** revoking: a logout was asked for and not answered yet. */
  state: 'alive' | 'revoking' | 'revoked' | 'lost'
}

export interface LoadReport {
  readonly lives: readonly Life[]
  readonly verdicts: Readonly<Partial<Record<RotationVerdict['kind'], number>>>
  readonly revocations: number
  /** How many calls failed, by what they failed with. */
  readonly failures: ReadonlyMap<string, number>
  /** performance.now() of the first and of the last failure. */
  readonly failed: { readonly first: number; readonly last: number } | undefined
  /** What failed otherwise than with STORE_DOWN: a defect. */
  readonly defects: readonly unknown[]
  /** The longest that a client had to wait for an answer that was none of failure, in milliseconds. */
  readonly longestOutage: number
}

export interface Load {
  /** Resolves when so many sessions have been ended. Rejects after 20 s. */
  ended(count: number): Promise<void>
  /** Resolves when all is well: for a second no call has failed, and none has waited for its answer. Rejects after 20 s. */
  settle(): Promise<void>
  /** Resolves when every client has had the answer to its last call. */
  stop(): Promise<LoadReport>
}

export interface LoadOptions {
  readonly clients: number
  /** Users of the clients, one each. */
  readonly userOf?: (client: number) => string
  /** Refreshes between login and logout; Infinity means none. */
  readonly refreshes?: number
  /** Between calls of one client, in milliseconds. */
  readonly pause?: number
  readonly confirm?: Confirm
}

/** A failure is tried again after so many milliseconds, as a client would. */
const retryPause = 20

/** Ends with `t` at the latest: clients that outlived a failed test would keep the process running. */
export function startLoad(
  t: Pick<Test, 'teardown'>,
  sessions: SessionStore,
  {
    clients,
    userOf = (client) => `user-${client}`,
    refreshes = Number.POSITIVE_INFINITY,
    pause = 5,
    confirm
  }: LoadOptions
): Load {
  const lives: Life[] = []
  const verdicts: Partial<Record<RotationVerdict['kind'], number>> = {}
  const failures = new Map<string, number>()
  const defects: unknown[] = []
  let failed: LoadReport['failed']
  let [revocations, longestOutage, stopping] = [0, 0, false]
  /** When the calls that are not answered yet were made. */
  const waiting = new Set<{ readonly since: number }>()

  /** Calls until it is answered; undefined when the load ends before. */
  const insist = async <T>(call: () => Promise<T>): Promise<T | undefined> => {
    const entry = { since: performance.now() }
    waiting.add(entry)
    while (true) {
      try {
        const answer = await call()
        longestOutage = Math.max(longestOutage, performance.now() - entry.since)
        waiting.delete(entry)
        return answer
      } catch (error) {
        const now = performance.now()
        const { code, detail } = error as { code?: string; detail?: string }
        if (code !== 'STORE_DOWN') defects.push(error)
        const reason = String(detail ?? error).replace(
          /[0-9a-f]{40}|\d+\.\d+\.\d+\.\d+:\d+|slot \d+|\d+(?= %)|\d{3,}/g,
          '…'
        )
        failures.set(reason, (failures.get(reason) ?? 0) + 1)
        failed = { first: failed?.first ?? now, last: now }
        if (stopping) return undefined
        await delay(retryPause)
      }
    }
  }

  const logIn = async (userId: string): Promise<Life | undefined> => {
    const started = await insist(() => sessions.start(userId, aDevice))
    if (started === undefined) return undefined
    const life: Life = { userId, sid: started.session.sid, generation: 0, isConfirmed: false, state: 'alive' }
    lives.push(life)
    if (confirm !== undefined) life.isConfirmed = await confirm(userId).catch(() => false)
    return life
  }

  const refresh = async (life: Life): Promise<void> => {
    const verdict = await insist(() => sessions.rotate(life))
    if (verdict === undefined) return
    verdicts[verdict.kind] = (verdicts[verdict.kind] ?? 0) + 1
    if ('newest' in verdict) life.generation = verdict.newest.number
    else life.state = 'lost'
  }

  const logOut = async (life: Life): Promise<void> => {
    life.state = 'revoking'
    const answer = await insist(() => sessions.revoke(life.userId, life.sid))
    if (answer === undefined) return
    life.state = 'revoked'
    revocations++
  }

  const run = async (client: number): Promise<void> => {
    while (!stopping) {
      const life = await logIn(userOf(client))
      for (let each = 0; life?.state === 'alive' && each < refreshes && !stopping; each++) {
        await delay(pause)
        await refresh(life)
      }
      if (life?.state === 'alive' && !stopping) await logOut(life)
    }
  }

  const running = Promise.all(Array.from({ length: clients }, (_, client) => run(client)))
  t.teardown(() => {
    stopping = true
    return running
  })
  const isWell = (): boolean => {
    const now = performance.now()
    const isAnswered = [...waiting].every(({ since }) => now - since < 300)
    return isAnswered && now - (failed?.last ?? 0) > 1000
  }
  const report = (): LoadReport => ({ lives, verdicts, revocations, failures, failed, defects, longestOutage })
  return {
    async ended(count) {
      await until(() => revocations >= count, 20_000)
    },
    async settle() {
      const began = performance.now()
      // A call that will fail has waited for two seconds before it does, so a single look is not enough.
      await until(async () => isWell() && (await delay(500, true)) && isWell(), 20_000).catch((error: Error) => {
        throw new Error(`${error.message}: ${waiting.size} calls wait; ${describeFailures(report(), began)}`)
      })
    },
    async stop() {
      stopping = true
      await running
      return report()
    }
  }
}

/**
 * What must hold when all is well again: no defect, no session alive whose logout was answered, and none lost but those whose
 * login no replica had when the server died.
 */
export async function checkLives(t: Test, sessions: SessionStore, { lives, defects }: LoadReport): Promise<void> {
  t.same(defects, [], 'nothing failed otherwise than with STORE_DOWN')
  const revoked = lives.filter(({ state }) => state === 'revoked')
  const alive = lives.filter(({ state }) => state === 'alive')
  const lost = lives.filter(({ state }) => state === 'lost')
  const resurrected: Life[] = []
  for (const life of revoked) {
    const found = await sessions.find(life.userId, life.sid)
    const verdicts = [await sessions.rotate(life), await sessions.rotate({ ...life, generation: life.generation + 1 })]
    if (found !== undefined || verdicts.some(({ kind }) => kind !== 'unknown')) resurrected.push(life)
  }
  t.same(resurrected, [], `${revoked.length} sessions whose end was answered are over`)
  for (const life of alive) {
    const verdict = await sessions.rotate(life)
    if (!('newest' in verdict)) lost.push({ ...life, state: 'lost' })
  }
  t.same(
    lost.filter(({ isConfirmed }) => isConfirmed),
    [],
    `${alive.filter(({ isConfirmed }) => isConfirmed).length} sessions that a replica knew are alive`
  )
  t.comment(
    `${lives.length} sessions: ${revoked.length} ended, ${alive.length} alive, ${lost.length} lost before a replica knew them`
  )
}

/** Milliseconds from `since` to the last failure, and what failed. */
export function describeFailures({ failures, failed, longestOutage }: LoadReport, since: number): string {
  if (failed === undefined) return 'no call failed'
  const [first, last] = [failed.first - since, failed.last - since].map((time) => time.toFixed(0))
  const reasons = [...failures].map(([reason, count]) => `${count} x ${reason}`).join('; ')
  return `calls failed from ${first} to ${last} ms after it; a client waited ${longestOutage.toFixed(0)} ms at most (${reasons})`
}

/** What must hold then of the feed: every revocation that was answered is in it, and `replica`, which has followed it, goes on. */
export async function checkFeed(
  t: Test,
  { sessions, feed, replica }: Pick<Stores, 'sessions' | 'feed'> & { readonly replica: Revocations },
  { lives }: LoadReport
): Promise<void> {
  const revoked = lives.filter(({ state }) => state === 'revoked')
  await until(() => revoked.every(({ sid }) => replica.has(aToken(sid))), 5000)
  const late = await follow(t, feed, aReplica())
  t.same(
    revoked.filter(({ sid }) => !late.has(aToken(sid))),
    [],
    'a worker that starts now knows every revocation that was answered'
  )
  const { userId, sid } = await login(sessions, 'afterwards')
  await sessions.revoke(userId, sid)
  await until(() => replica.has(aToken(sid)), 1000)
  t.equal(replica.isStale(), false, 'the follower goes on')
}

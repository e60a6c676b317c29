/**
 * What the arbiter knows of a child process. It is born `booting`, becomes `ready` once, and `draining` once: asked to
 * finish what it has and to end. Times are milliseconds of a clock that never goes back.
 */
export interface Member {
  readonly id: number
  readonly state: 'booting' | 'ready' | 'draining'
  /** To be replaced: it has served its MAX_REQUESTS, or is older than the last reload. */
  readonly isSpent: boolean
  /** The last sign of life; the birth of a process that is not ready yet. */
  readonly beatAt: number
  /** When it was told to abort, because it was silent. */
  readonly abortedAt?: number
  /** When it is killed, if it still drains then. */
  readonly killAt?: number
}

export interface Wanted {
  /** So many members that are ready; 0 lets all go. */
  readonly count: number
  /** Silence of a member that is ready which is taken for a hang; 0 is no limit. */
  readonly timeout: number
  /** No start before this time: the back-off after members that could not boot. */
  readonly startAt: number
  /** Whether spent members may go already; false while a reload is not ready elsewhere. */
  readonly mayRelieve: boolean
}

/** What is to be done, by the members' ids. */
export interface Plan {
  readonly start: number
  readonly drain: readonly number[]
  readonly abort: readonly number[]
  readonly kill: readonly number[]
}

/**
 * Who boots, or drains before it was ready, does not beat yet, and may take so long at least: many boots at once, as in a
 * reload, take several times as long as one.
 */
const leastBoot = 30_000

/** How long a process may take to die of SIGABRT, which one that is stopped does not see, before SIGKILL. */
const abortGrace = 500

/**
 * Decides who is started, drained, aborted or killed. Pure, and idempotent once its plan is carried out.
 *
 * Whoever served and is silent counts as gone, so its replacement does not wait for its death; a boot that hangs keeps
 * its place until it is dead, so that it is known to have failed before the next one is tried. Spent members are relieved all
 * together, once as many others as wanted are ready: there are never fewer than wanted, and a reload whose processes
 * cannot boot costs nothing. Of too many those that nobody uses yet go first, then the oldest, as Gunicorn has it.
 */
export function plan(members: readonly Member[], { count, timeout, startAt, mayRelieve }: Wanted, now: number): Plan {
  const mostSilent = ({ state }: Member) => (state === 'ready' ? timeout : Math.max(timeout, leastBoot))
  const isSilent = (each: Member) =>
    each.abortedAt !== undefined || (timeout > 0 && now - each.beatAt > mostSilent(each))
  const silent = members.filter(isSilent)
  const isLost = (each: Member) => each.state === 'draining' || (each.state === 'ready' && isSilent(each))
  const serving = members.filter((each) => !isLost(each))
  const fresh = serving.filter(({ isSpent }) => !isSpent)
  const ready = fresh.filter(({ state }) => state === 'ready')
  const booting = fresh.filter(({ state }) => state === 'booting')
  const surplus = [...booting.toReversed(), ...ready].slice(0, Math.max(0, fresh.length - count))
  const relieved = mayRelieve && ready.length >= count ? serving.filter(({ isSpent }) => isSpent) : []
  return {
    start: now >= startAt ? Math.max(0, count - fresh.length) : 0,
    drain: ids([...relieved, ...surplus]),
    abort: ids(silent.filter(({ abortedAt }) => abortedAt === undefined)),
    kill: ids(
      members.filter(
        ({ abortedAt = Number.POSITIVE_INFINITY, killAt = Number.POSITIVE_INFINITY }) =>
          now >= Math.min(abortedAt + abortGrace, killAt)
      )
    )
  }
}

const ids = (members: readonly Member[]): number[] => members.map(({ id }) => id)

/**
 * Waits before a start, in milliseconds: the first replacement comes at once, then each failure in a row waits longer.
 */
const waits = [0, 1000, 2000, 4000, 8000, 16_000, 30_000]

/** How long to wait before the next start after so many deaths in a row of members that could not boot, or died young. */
export const backOff = (failures: number): number => waits[Math.min(Math.max(failures - 1, 0), waits.length - 1)] ?? 0

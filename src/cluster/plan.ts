/**
 * The part of a child process's state that the plan needs. A process starts as `booting`, becomes `ready` once and `draining`
 * once; then it finishes its work and exits. Times are milliseconds of a monotonic clock.
 */
export interface Member {
  readonly id: number
  readonly state: 'booting' | 'ready' | 'draining'
  /** Whether it has served MAX_REQUESTS, or was started before the last reload. */
  readonly needsReplacement: boolean
  /** The time of the last heartbeat; until the process is ready, of its start. */
  readonly beatAt: number
  /** When it was sent SIGABRT, because it sent no heartbeats. */
  readonly abortedAt?: number
  /** When it will be sent SIGKILL if it is still draining. */
  readonly killAt?: number
}

export interface Wanted {
  /** How many members should be ready; 0 drains all. */
  readonly count: number
  /** Silence after which a ready member counts as hanging; 0 disables the limit. */
  readonly timeout: number
  /** No start before this time: the back-off after members that failed to boot. */
  readonly startAt: number
  /** Whether replaced members may drain already; false while the other pool is not complete in a reload. */
  readonly mayRetire: boolean
}

/** What to do, by the members' ids. */
export interface Plan {
  readonly start: number
  readonly drain: readonly number[]
  readonly abort: readonly number[]
  readonly kill: readonly number[]
}

/**
 * A member that is booting, or drains before it was ready, sends no heartbeats yet. It may take at least this long: many
 * simultaneous boots, as in a reload, take several times as long as one.
 */
const minBootMs = 30_000

/** How long a process may take to die of SIGABRT, which a stopped process does not receive, before SIGKILL. */
const abortGrace = 500

/**
 * Decides which members to start, drain, abort and kill. Pure, and idempotent once its plan is carried out.
 *
 * A ready member that sends no heartbeats counts as lost, so its replacement starts before it has died. A member that hangs
 * while it boots is counted until it is dead, so that the boot counts as failed before the next one is tried. Members that need
 * replacement drain together, once as many others as wanted are ready. So there are never fewer than wanted, and a reload whose
 * processes fail to boot changes nothing. Of a surplus, members that are still booting drain first, then the oldest ones, as in
 * Gunicorn.
 */
export function plan(members: readonly Member[], { count, timeout, startAt, mayRetire }: Wanted, now: number): Plan {
  const maxSilence = ({ state }: Member) => (state === 'ready' ? timeout : Math.max(timeout, minBootMs))
  const isSilent = (each: Member) =>
    each.abortedAt !== undefined || (timeout > 0 && now - each.beatAt > maxSilence(each))
  const silent = members.filter(isSilent)
  const isLost = (each: Member) => each.state === 'draining' || (each.state === 'ready' && isSilent(each))
  const serving = members.filter((each) => !isLost(each))
  const fresh = serving.filter(({ needsReplacement }) => !needsReplacement)
  const ready = fresh.filter(({ state }) => state === 'ready')
  const booting = fresh.filter(({ state }) => state === 'booting')
  const surplus = [...booting.toReversed(), ...ready].slice(0, Math.max(0, fresh.length - count))
  const retired = mayRetire && ready.length >= count ? serving.filter(({ needsReplacement }) => needsReplacement) : []
  return {
    start: now >= startAt ? Math.max(0, count - fresh.length) : 0,
    drain: ids([...retired, ...surplus]),
    abort: ids(silent.filter(({ abortedAt }) => abortedAt === undefined)),
    kill: ids(members.filter((each) => now >= killTimeOf(each)))
  }
}

const killTimeOf = ({ abortedAt = Number.POSITIVE_INFINITY, killAt = Number.POSITIVE_INFINITY }: Member): number =>
  Math.min(abortedAt + abortGrace, killAt)

const ids = (members: readonly Member[]): number[] => members.map(({ id }) => id)

/**
 * Milliseconds before a start: the first replacement starts at once, and each consecutive failure makes the next one wait
 * longer.
 */
const backOffs = [0, 1000, 2000, 4000, 8000, 16_000, 30_000]

/**
 * Milliseconds to wait before the next start, given the number of consecutive failures: boots that failed, or members that died
 * soon after their start.
 */
export const backOff = (failures: number): number =>
  backOffs[Math.min(Math.max(failures - 1, 0), backOffs.length - 1)] ?? 0

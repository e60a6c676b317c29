/*
 * The activity of the service in the last hour, minute by minute, for the operator's overview. The arbiter keeps this history,
 * so it outlives workers and reloads. Once a second, each worker adds to it what it has counted.
 */
import { shortBounds } from './timings.ts'

/** The events of the overview. */
export const activityEvents = ['login', 'refresh', 'verify'] as const

export type ActivityEvent = (typeof activityEvents)[number]

/** Requests by their result: a verdict, `ok`, or an error code in lower case. */
export type ResultCounts = Record<string, number>

/** What was counted, by one worker since its last report or by all of them in a minute. */
export interface Activity {
  results: Readonly<Record<ActivityEvent, ResultCounts>>
  /** For each event, the number of requests by duration: one count for each of `shortBounds`, and one for longer requests. */
  readonly durations: Readonly<Record<ActivityEvent, number[]>>
  /** Answers with a status of 500 or above. */
  errors: number
  /** Milliseconds since the revocation feed was last read: the highest value. */
  revocationLagMs: number
  /** Passwords that waited for a hasher: the highest value. */
  hashQueue: number
}

/** The activity of the minute that begins at this time, in whole seconds since 1970. */
export interface ActivityMinute extends Activity {
  readonly at: number
}

export interface ActivityReport {
  /** When the service started, in whole seconds since 1970. */
  readonly startedAt: number
  /** Results since then. */
  readonly totals: Activity['results']
  /** The last 60 minutes, or those since the start, oldest first and without gaps. The last one is not complete yet. */
  readonly minutes: readonly ActivityMinute[]
}

/** What the arbiter adds to the report: the processes that are ready, and the queue of passwords. */
export interface ServiceState {
  readonly workers: number
  readonly hashers: number
  readonly hashQueue: { readonly waiting: number; readonly capacity: number }
}

/** Where workers report their activity. */
export interface ActivityRecord {
  add(activity: Activity): void
  read(): Promise<ActivityReport & ServiceState>
}

const [minute, historyLength] = [60, 60]

/** A value for each event. */
export const byEvent = <Value>(make: (event: ActivityEvent) => Value): Record<ActivityEvent, Value> => ({
  login: make('login'),
  refresh: make('refresh'),
  verify: make('verify')
})

export const noActivity = (): Activity => ({
  results: byEvent(() => ({})),
  durations: byEvent(() => new Array(shortBounds.length + 1).fill(0)),
  errors: 0,
  revocationLagMs: 0,
  hashQueue: 0
})

/** Counts a duration in seconds. */
export function countDuration(counts: number[], seconds: number): void {
  const bucket = shortBounds.findIndex((bound) => seconds <= bound)
  increase(counts, bucket === -1 ? shortBounds.length : bucket, 1)
}

/** How much the totals of each result have grown since they were `reported`, which then holds them. */
export function takeGrowth(totals: ReadonlyMap<string, number>, reported: Map<string, number>): ResultCounts {
  const growth: ResultCounts = {}
  for (const [result, total] of totals) {
    const count = total - (reported.get(result) ?? 0)
    if (count > 0) growth[result] = count
    reported.set(result, total)
  }
  return growth
}

/** The history of an hour: its size depends on how many different results there were, not on how many requests. */
export class ActivityHistory {
  readonly #startedAt: number
  readonly #totals = byEvent<ResultCounts>(() => ({}))
  /** Oldest first. */
  #minutes: ActivityMinute[] = []

  constructor(startedAt: number) {
    this.#startedAt = startedAt
    this.#advance(startedAt)
  }

  /** Adds what was counted until `now`, in whole seconds since 1970. */
  add(activity: Activity, now: number): void {
    this.#advance(now)
    const current = this.#minutes.at(-1) as ActivityMinute
    current.errors += activity.errors
    current.revocationLagMs = Math.max(current.revocationLagMs, activity.revocationLagMs)
    current.hashQueue = Math.max(current.hashQueue, activity.hashQueue)
    for (const event of activityEvents) {
      for (const [bucket, count] of activity.durations[event].entries())
        increase(current.durations[event], bucket, count)
      for (const [result, count] of Object.entries(activity.results[event])) {
        increase(current.results[event], result, count)
        increase(this.#totals[event], result, count)
      }
    }
  }

  read(now: number): ActivityReport {
    this.#advance(now)
    return { startedAt: this.#startedAt, totals: this.#totals, minutes: this.#minutes }
  }

  /** Begins the minutes up to `now`. If the clock was set back, the current minute continues. */
  #advance(now: number): void {
    const current = now - (now % minute)
    const first = current - (historyLength - 1) * minute
    const last = this.#minutes.at(-1)?.at ?? current - minute
    for (let at = Math.max(last + minute, first); at <= current; at += minute)
      this.#minutes.push({ at, ...noActivity() })
    this.#minutes = this.#minutes.slice(-historyLength)
  }
}

/**
 * The duration in seconds that a share of the requests did not exceed, interpolated within its bucket as Prometheus does it;
 * undefined if there were none. Above the last bound it is that bound.
 */
export function quantileOf(counts: readonly number[], share: number): number | undefined {
  const rank = counts.reduce((sum, count) => sum + count, 0) * share
  if (rank === 0) return undefined
  let below = 0
  for (const [bucket, upper] of shortBounds.entries()) {
    const count = counts[bucket] ?? 0
    const lower = shortBounds[bucket - 1] ?? 0
    if (below + count >= rank) return lower + ((upper - lower) * (rank - below)) / count
    below += count
  }
  return shortBounds.at(-1)
}

function increase<Key extends string | number>(counts: Record<Key, number>, key: Key, by: number): void {
  counts[key] = (counts[key] ?? 0) + by
}

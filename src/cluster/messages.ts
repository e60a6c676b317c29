import type { Registry } from '@platformatic/prom-client'
import type { Activity, ActivityReport, ServiceState } from '../activity.ts'

/** A password to hash, or to compare with a digest. */
export type HashJob =
  | { readonly kind: 'hash'; readonly password: string }
  | { readonly kind: 'verify'; readonly password: string; readonly digest?: string | undefined }

/**
 * The digest, or whether the password matches the digest; or, as `busy`, why there is no answer. After `isFull` the worker
 * is sent `capacity` once the queue has room again.
 */
export type HashResult = { readonly value: string | boolean } | { readonly busy: string; readonly isFull?: true }

export type Metrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** What a worker or a hasher reports to the arbiter. `id` pairs a job with its result, within one channel. */
export type Report =
  /** It serves. `hasNoUsers` is only set on embedded data. */
  | { readonly type: 'ready'; readonly hasNoUsers?: boolean }
  /** It fails to boot; `reason` is for the operator. */
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'heartbeat' }
  /** It has served its MAX_REQUESTS. */
  | { readonly type: 'exhausted' }
  /** From a worker: it exits, because it was sent this signal. */
  | { readonly type: 'leaving'; readonly signal: string }
  /** From a worker: a job for a hasher. */
  | { readonly type: 'hash'; readonly id: number; readonly job: HashJob }
  /** From a worker: the client has disconnected, so the job need not be done. */
  | { readonly type: 'cancel'; readonly id: number }
  /** From a hasher: the result of a job. */
  | { readonly type: 'hashed'; readonly id: number; readonly result: HashResult }
  /** From a worker: a request for the metrics of all workers. */
  | { readonly type: 'scrape' }
  /** From a worker: its own metrics. */
  | { readonly type: 'measured'; readonly metrics: Metrics }
  /** From a worker: what it has counted since the last report. */
  | { readonly type: 'activity'; readonly activity: Activity }
  /** From a worker: a request for the activity of all workers. */
  | { readonly type: 'overview' }

/** What the arbiter orders a worker or a hasher to do. */
export type Order =
  /** To a worker, with the listening socket beside it; the service's own comes last. */
  | { readonly type: 'listen'; readonly at: 'service' | 'management' }
  /**
   * In milliseconds: continue as before for `delay`, then finish within `grace`. `isStop`: the whole service stops, so the
   * process is not ready any more, not even during the delay; otherwise only this process is replaced. A later order can only
   * shorten these times.
   */
  | { readonly type: 'drain'; readonly delay: number; readonly grace: number; readonly isStop: boolean }
  /** To a hasher: a job. */
  | { readonly type: 'hash'; readonly id: number; readonly job: HashJob }
  /** To a worker: the result of its job. */
  | { readonly type: 'hashed'; readonly id: number; readonly result: HashResult }
  /**
   * To a worker whose job was refused because the queue was full: the queue has room for `places` logins, or without `places`,
   * for all.
   */
  | { readonly type: 'capacity'; readonly places?: number }
  | { readonly type: 'measure' }
  | { readonly type: 'scraped'; readonly text: string }
  | { readonly type: 'overview'; readonly report: ActivityReport & ServiceState }

/** A child process, as the arbiter addresses it. */
export interface Child {
  readonly pid: number
  /** Never throws: an order to a process that has exited is lost. */
  send(order: Order): void
}

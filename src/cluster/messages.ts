import type { Registry } from '@platformatic/prom-client'

/** A password to hash, or to compare with a digest. */
export type HashJob =
  | { readonly kind: 'hash'; readonly password: string }
  | { readonly kind: 'verify'; readonly password: string; readonly digest?: string | undefined }

/**
 * The digest, or whether the digest is the password's; `busy` says why nobody could tell. If it is because the line is
 * full, the worker is told when there is room again.
 */
export type HashResult = { readonly value: string | boolean } | { readonly busy: string; readonly isFull?: true }

export type Metrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** What a worker or a hasher tells the arbiter. `id` pairs a hash job with its result, between the two who speak. */
export type Report =
  /** It serves. `hasNoUsers` is told of embedded data only. */
  | { readonly type: 'ready'; readonly hasNoUsers?: boolean }
  /** It cannot boot, in words for the operator. */
  | { readonly type: 'refused'; readonly words: string }
  | { readonly type: 'beat' }
  /** It has served its MAX_REQUESTS. */
  | { readonly type: 'spent' }
  /** A worker's question to a hasher, and a hasher's answer. */
  | { readonly type: 'hash'; readonly id: number; readonly job: HashJob }
  /** Nobody waits for the answer any more: it need not be worked out. */
  | { readonly type: 'unhash'; readonly id: number }
  | { readonly type: 'hashed'; readonly id: number; readonly result: HashResult }
  /** A worker asks for the metrics of all, and tells its own. */
  | { readonly type: 'scrape' }
  | { readonly type: 'measured'; readonly metrics: Metrics }

/** What the arbiter tells a worker or a hasher. */
export type Order =
  /** To a worker, with the listening socket beside it; that of the service comes last. */
  | { readonly type: 'listen'; readonly at: 'service' | 'management' }
  /**
   * Milliseconds: `delay` to go on as before, then `grace` to finish. `isStop`: the service stops, so it is no longer
   * ready, not even while the delay lasts; otherwise only this process is replaced. A later order can only be quicker.
   */
  | { readonly type: 'drain'; readonly delay: number; readonly grace: number; readonly isStop: boolean }
  | { readonly type: 'hash'; readonly id: number; readonly job: HashJob }
  | { readonly type: 'hashed'; readonly id: number; readonly result: HashResult }
  /** To a worker that was refused: there is room in the line, for so many; without `places` for all that come. */
  | { readonly type: 'room'; readonly places?: number }
  | { readonly type: 'measure' }
  | { readonly type: 'scraped'; readonly text: string }

/** A process as the arbiter speaks to it. */
export interface Child {
  readonly pid: number
  /** Never throws: whoever is gone does not hear it. */
  tell(order: Order): void
}

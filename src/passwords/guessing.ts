/** `tries` in a burst, refilled evenly over each `window`. Whole seconds. */
export interface Budget {
  readonly tries: number
  readonly window: number
}

/** The budget from which a try is taken. */
export interface Charge {
  /** Names a budget in the store without revealing the account or address. */
  readonly key: string
  readonly budget: Budget
}

/** How long a source stays trusted after the last correct password from it, in whole seconds: 30 days. */
export const trustedFor = 30 * 86_400

/**
 * Counts guesses for all processes together. Its data is bounded and expires: a budget once it is full again, a source
 * `trustedFor` after it was remembered. Every method throws KeyturnError STORE_DOWN if the store is unreachable.
 */
export interface GuessStore {
  /**
   * Takes a try from each of `charges` and returns 0; takes none if one of them is exhausted, and returns the whole seconds until
   * all have one. Concurrent calls never take more tries than there are.
   */
  take(charges: readonly Charge[]): Promise<number>
  /** Returns a try after a correct password. */
  giveBack(charges: readonly Charge[]): Promise<void>
  /** Whether a correct password has come from the source named `key`. */
  isKnown(key: string): Promise<boolean>
  remember(key: string): Promise<void>
}

/** Times are compared with this many parts per second, since rounding makes sums of fractions slightly too large. */
const precision = 1000

/**
 * Takes one try at `now` from a budget that is full again at `wholeAt` (0 if it is full). `wait` is 0 on success, otherwise the
 * whole seconds until a try is available, with `wholeAt` unchanged. lua/spend.lua is its twin.
 *
 * Pure. The state is one number: each try advances it by the window divided by the number of tries, at most one window ahead; if
 * it is further ahead, the clock was set back, and it is ignored. Source: the generic cell rate algorithm (ITU-T I.371 annex A),
 * which is equivalent to a token bucket.
 */
export function decideTry(
  wholeAt: number,
  now: number,
  { tries, window }: Budget
): { readonly wholeAt: number; readonly wait: number } {
  // A second of tolerance: due to rounding, an exhausted budget may seem further ahead than its window, and would count as full.
  const isFromAnotherTime = wholeAt > now + window + 1
  const next = Math.max(isFromAnotherTime ? 0 : wholeAt, now) + window / tries
  const wait = Math.ceil(Math.floor((next - now - window) * precision) / precision)
  return wait > 0 ? { wholeAt, wait } : { wholeAt: next, wait: 0 }
}

/** The inverse: the budget after a try was returned. */
export const giveTryBack = (wholeAt: number, { tries, window }: Budget): number => wholeAt - window / tries

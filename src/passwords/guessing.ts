/** `tries` in a burst, refilled evenly over each `window`. Whole seconds. */
export interface Budget {
  readonly tries: number
  readonly window: number
}

/** One try, and what it is taken from. */
export interface Charge {
  /** Names a budget in the store without revealing the account or address. */
  readonly key: string
  readonly budget: Budget
}

/** For how long a source is known after the last right password that came from it, in whole seconds: 30 days. */
export const knownFor = 30 * 86_400

/**
 * Counts guesses, for all processes together. What it keeps is bounded and expires: a budget once it is whole again, a
 * source `knownFor` after it was remembered. Every method throws KeyturnError STORE_DOWN when the store cannot be
 * reached.
 */
export interface GuessStore {
  /**
   * Takes a try for each of `charges` and gives 0; takes none when one of them has none left, and gives the whole
   * seconds until each has. Of many at once no more get one than there are.
   */
  take(charges: readonly Charge[]): Promise<number>
  /** Gives back what was taken: it was no wrong guess. */
  giveBack(charges: readonly Charge[]): Promise<void>
  /** Whether a right password has come from the source named `key`. */
  isKnown(key: string): Promise<boolean>
  remember(key: string): Promise<void>
}

/** A second is divided in so many parts when two times are compared: sums of fractions come out a little too large. */
const precision = 1000

/**
 * Takes one try from a budget that is whole again at `wholeAt` (0 when it is), at `now`. `wait` is 0 when there was
 * one, and otherwise how many whole seconds it takes until there is; `wholeAt` is then as it was. lua/spend.lua is its
 * twin.
 *
 * Pure. One number is all that is kept: each try moves it on by a `window`'s share of a try, and it may not be further
 * away than one window; where it is, the clock was set back, and it says nothing. Source: the generic cell rate
 * algorithm (ITU-T I.371 annex A), of which a token bucket is the other picture.
 */
export function decideTry(
  wholeAt: number,
  now: number,
  { tries, window }: Budget
): { readonly wholeAt: number; readonly wait: number } {
  // By a second: a spent budget may seem to be a little further away than its window, and would count as whole.
  const isFromAnotherTime = wholeAt > now + window + 1
  const next = Math.max(isFromAnotherTime ? 0 : wholeAt, now) + window / tries
  const wait = Math.ceil(Math.floor((next - now - window) * precision) / precision)
  return wait > 0 ? { wholeAt, wait } : { wholeAt: next, wait: 0 }
}

/** The other way round: the budget after one try was given back. */
export const giveTryBack = (wholeAt: number, { tries, window }: Budget): number => wholeAt - window / tries

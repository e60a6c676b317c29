/** Refused clients that a worker can serve in a second when they return: a third of the refreshes that it can (bench/results.md). */
const servedPerSecond = 1000

/** Seconds over which clients are spread: a few at least, and no longer than a person waits. */
const [minSpread, maxSpread] = [5, 30]

export interface RetryAfterOptions {
  /** Milliseconds of a clock that only moves forward. */
  readonly now?: () => number
  /** From 0 to 1, as Math.random. */
  readonly random?: () => number
}

/**
 * Chooses the `Retry-After` of a refusal: whole seconds, `earliest` at least. After an outage all clients come back in the same second,
 * and all of those that are refused would come back in the same second again. So each is given a random time, spread over what the
 * refused ones need to be served: those of the last seconds are counted, less `servedPerSecond` of them for each second since.
 */
export type RetryAfter = (earliest?: number) => number

export function makeRetryAfter({
  now = () => performance.now(),
  random = Math.random
}: RetryAfterOptions = {}): RetryAfter {
  let refused = 0
  let countedAt = now()
  return (earliest = 1) => {
    const elapsed = (now() - countedAt) / 1000
    countedAt = now()
    refused = Math.max(0, refused - elapsed * servedPerSecond) + 1
    const spread = Math.min(Math.max(minSpread, refused / servedPerSecond), maxSpread)
    return earliest + Math.floor(random() * spread)
  }
}

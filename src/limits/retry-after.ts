/**
 * How many returning clients a worker is expected to serve in a second: a third of the refreshes that it can serve
 * (bench/results.md).
 */
const servedPerSecond = 1000

/** Seconds over which clients are spread: at least a few, and at most as many as a person waits. */
const [minSpread, maxSpread] = [5, 30]

export interface RetryAfterOptions {
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number
  /** From 0 to 1, as Math.random. */
  readonly random?: () => number
}

/**
 * Chooses the `Retry-After` of a refusal: whole seconds, at least `earliest`. After an outage, all clients return in the same
 * second, and those that are refused would again return together. So each gets a random time within the period that is needed
 * to serve all refused ones: the recently refused clients are counted, less `servedPerSecond` for each second that has passed
 * since.
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

export interface Comparison {
  /**
   * How often a value of `a` is the larger one of a pair, ties counting half: 0.5 if the two are indistinguishable.
   */
  readonly larger: number
  /** The probability of a difference at least as large, if there were none. */
  readonly p: number
}

/**
 * The Mann-Whitney U test, two-sided, in its normal approximation with the correction for ties and that for continuity:
 * whether values of one sample tend to be larger than those of another, whatever their distribution. For samples of
 * twenty and more. Source: Mann and Whitney (1947); the formulas as in Conover, Practical Nonparametric Statistics,
 * §5.1.
 */
export function compareRanks(a: readonly number[], b: readonly number[]): Comparison {
  const all = [...a.map((value) => ({ value, isA: true })), ...b.map((value) => ({ value, isA: false }))]
  all.sort((one, other) => one.value - other.value)
  let [rankSum, ties] = [0, 0]
  for (let first = 0; first < all.length; ) {
    let after = first + 1
    while (after < all.length && all[after]?.value === all[first]?.value) after += 1
    const count = after - first
    // Equal values share the mean of the ranks that they take up.
    rankSum += (all.slice(first, after).filter(({ isA }) => isA).length * (first + 1 + after)) / 2
    ties += count ** 3 - count
    first = after
  }
  const [n, pairs] = [all.length, a.length * b.length]
  const u = rankSum - (a.length * (a.length + 1)) / 2
  const deviation = Math.sqrt((pairs / 12) * (n + 1 - ties / (n * (n - 1))))
  const z = Math.max(0, Math.abs(u - pairs / 2) - 0.5) / deviation
  return { larger: u / pairs, p: deviation === 0 ? 1 : 2 * upperTail(z) }
}

/**
 * The probability that a standard normal value exceeds `z`, 0 or more, to seven digits. Source: Abramowitz and Stegun
 * 26.2.17.
 */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z)
  const series = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429]
  const sum = series.reduceRight((total, factor) => (total + factor) * t, 0)
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * sum
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

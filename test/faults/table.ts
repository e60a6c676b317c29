import type { FailedRequest } from './clients.ts'
import type { Outcome } from './faults.ts'

export const heading = [
  '| fault | served | failed, by endpoint and response | ready | longest answer | wrong | back after |',
  '| --- | --- | --- | --- | --- | --- | --- |'
].join('\n')

/** One row of Markdown. */
export function rowOf({ name, answered, failed, longest, wrong, lost, unready, recovery }: Outcome): string {
  const ends = lost > 0 ? ` (${lost} sessions gone)` : ''
  const cells = [
    name,
    answered,
    `${countKinds(failed)}${ends}`,
    unready > 0 ? '503' : '200',
    seconds(longest / 1000),
    wrong.length,
    seconds(recovery)
  ]
  return `| ${cells.join(' | ')} |`
}

const seconds = (value: number): string => `${value.toFixed(1)} s`

/** How many requests failed, by endpoint and response. */
export function countKinds(failed: readonly FailedRequest[]): string {
  const counts = new Map<string, number>()
  for (const { endpoint, reason } of failed) {
    const kind = `${endpoint} ${reason}`
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return counts.size === 0
    ? 'none'
    : [...counts]
        .toSorted()
        .map(([kind, count]) => `${count} × ${kind}`)
        .join(', ')
}

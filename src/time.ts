/** Returns whole seconds since 1970, the unit of every claim (RFC 7519 NumericDate) and of every lifetime here. */
export type Clock = () => number

export const systemClock: Clock = () => Math.floor(Date.now() / 1000)

/** Whole seconds from an arbitrary start: measures durations, which a step of the system clock must not change. */
export const monotonicClock: Clock = () => Math.floor(performance.now() / 1000)

/** A clock that only moves by `clock.advance(seconds)`. */
export function makeManualClock(start = 1_700_000_000): Clock & { advance(seconds: number): void } {
  let now = start
  return Object.assign(() => now, {
    advance(seconds: number) {
      now += seconds
    }
  })
}

const unitSeconds: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }

/** '300', '300s', '5m', '12h' or '30d' to whole seconds; undefined when the text is not a duration. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * (unitSeconds[match[2] ?? ''] ?? 1)
}

/** The last second of the year 9999, and of what Python and many databases have as a date. */
export const endOfTime = 253_402_300_799

/** Seconds since 1970 as 2026-01-31T12:00:00Z. */
export const showTime = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000', '')

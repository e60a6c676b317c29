/** The count in the current window, including the new one, and the seconds until the window ends. */
export interface Count {
  readonly number: number
  readonly left: number
}

/** Counts by name, in windows that begin with the first count. */
export interface Counters {
  /** Increments the count of `name`; `window` is in whole seconds. */
  add(name: string, window: number): Promise<Count>
}

/** Counters of this process alone, which evict the least recently counted names. */
export interface OwnCounters extends Counters {
  add(name: string, window: number): Promise<Count>
  /** Takes over a count that includes other processes. */
  keep(name: string, count: Count): void
  /** The count in the current window; undefined if there is none. */
  find(name: string): Count | undefined
}

/** Fractional seconds of a monotonic clock. */
const monotonicSeconds = (): number => performance.now() / 1000

/** Keeps at most `maxNames` names, so that an attacker with many addresses cannot fill the memory. */
export function makeOwnCounters(now = monotonicSeconds, maxNames = 10_000): OwnCounters {
  const windows = new Map<string, { readonly number: number; readonly endsAt: number }>()
  const find: OwnCounters['find'] = (name) => {
    const window = windows.get(name)
    return window !== undefined && window.endsAt > now()
      ? { number: window.number, left: window.endsAt - now() }
      : undefined
  }
  const keep: OwnCounters['keep'] = (name, { number, left }) => {
    // A map keeps insertion order: removing the key first makes it the latest.
    windows.delete(name)
    if (windows.size >= maxNames) windows.delete(windows.keys().next().value as string)
    windows.set(name, { number, endsAt: now() + left })
  }
  return {
    async add(name, window) {
      const { number, left } = find(name) ?? { number: 0, left: window }
      const count = { number: number + 1, left }
      keep(name, count)
      return count
    },
    keep,
    find
  }
}

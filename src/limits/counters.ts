/** How many there are in the window, the one just counted among them, and how many seconds it still goes on. */
export interface Count {
  readonly number: number
  readonly left: number
}

/** Counts by name, each in a window of time that its first one begins. */
export interface Counters {
  /** Counts one more of `name`; `window` is in whole seconds. */
  add(name: string, window: number): Promise<Count>
}

/** Counters of this process alone, which forget the names that were not heard of for longest. */
export interface OwnCounters extends Counters {
  add(name: string, window: number): Promise<Count>
  /** What others have counted too. */
  keep(name: string, count: Count): void
  /** How many there were in the window that goes on; undefined when none does. */
  find(name: string): Count | undefined
}

/** Seconds since some moment, with fractions, which a step of the system's clock does not change. */
const monotonicSeconds = (): number => performance.now() / 1000

/** Remembers `most` names at once: as many as there are, and an attacker with many addresses could fill the memory. */
export function makeOwnCounters(now = monotonicSeconds, most = 10_000): OwnCounters {
  const windows = new Map<string, { readonly number: number; readonly endsAt: number }>()
  const find: OwnCounters['find'] = (name) => {
    const window = windows.get(name)
    return window !== undefined && window.endsAt > now()
      ? { number: window.number, left: window.endsAt - now() }
      : undefined
  }
  const keep: OwnCounters['keep'] = (name, { number, left }) => {
    // A map keeps the order in which its keys came: taken out first, this one is the latest.
    windows.delete(name)
    if (windows.size >= most) windows.delete(windows.keys().next().value as string)
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

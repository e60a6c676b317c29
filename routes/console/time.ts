import { type Content, h } from './dom.ts'

const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

const units: readonly (readonly [name: string, seconds: number])[] = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1]
]

/** A duration in its largest unit, such as `3 days`. */
export function duration(seconds: number): string {
  const [name, unit] = units.find(([, unit]) => seconds >= unit) ?? ['second', 1]
  const count = Math.floor(Math.max(0, seconds) / unit)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

/** Whole seconds since a time of the service, by the clock of this device. */
export const secondsSince = (at: string): number => Math.floor((Date.now() - Date.parse(at)) / 1000)

/** A time of the service in the operator's time zone; a dash for null. */
export const time = (at: string | null): Content =>
  at === null ? '–' : h('time', { datetime: at, title: at }, format.format(new Date(at)))

/** Resolves after a time, or at once when `signal` is aborted. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })

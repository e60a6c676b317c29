import { get } from './api.ts'
import { attempt, badge, fill, h, list } from './dom.ts'
import { type KeyRow, keyTable } from './keys.ts'
import { plot } from './plot.ts'
import { duration, pause, secondsSince, time } from './time.ts'
import type { Place, View } from './view.ts'

type Results = Readonly<Record<string, number>>

interface Latency {
  readonly p50: number | null
  readonly p99: number | null
}

interface Minute {
  readonly at: string
  readonly logins: Results
  readonly refreshes: Results
  readonly verifications: Results
  readonly errors: number
  readonly latency_ms: Readonly<Record<'login' | 'refresh' | 'verify', Latency>>
  readonly hash_queue: number
  readonly revocation_lag_ms: number
}

interface Overview {
  readonly version: string
  readonly host: string
  readonly now: string
  readonly started_at: string
  readonly workers: number
  readonly hashers: number
  readonly sessions: number | null
  readonly hash_queue: { readonly waiting: number; readonly capacity: number }
  readonly revocation_lag_ms: number
  readonly keys: readonly KeyRow[] | null
  readonly minutes: readonly Minute[]
}

const intervalMs = 5000

/** What the service does now, and did in the last hour. */
export const overview: View = {
  title: 'Overview',
  scope: 'keyturn.admin',
  isListed: true,
  async open({ root, signal }: Place) {
    const [problem, body] = [h('div'), h('div')]
    const read = async () => {
      show(body, await get<Overview>('overview/', signal))
      fill(problem)
    }
    await read()
    fill(root, problem, body)
    void follow(() => attempt(problem, read), signal)
  }
}

async function follow(read: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(intervalMs, signal)
    if (!signal.aborted) await read()
  }
}

function show(root: HTMLElement, answer: Overview): void {
  const { minutes, keys } = answer
  const sums = (read: (minute: Minute) => number | null) => minutes.map(read)
  const latency = (name: 'login' | 'refresh' | 'verify') => ({
    name,
    values: sums(({ latency_ms }) => latency_ms[name].p99)
  })
  const verdict = (name: string) => ({ name, values: sums(({ refreshes }) => refreshes[name] ?? 0) })
  fill(
    root,
    figures(answer),
    h(
      'div',
      { class: 'plots' },
      plot('Logins', 'a minute', [
        { name: 'successful', values: sums(({ logins }) => logins.ok ?? 0) },
        { name: 'failed', values: sums(({ logins }) => total(logins) - (logins.ok ?? 0)) }
      ]),
      // On two scales: hardly any refresh has another verdict.
      plot('Refreshes', 'a minute', [verdict('rotated')]),
      plot('Other refresh verdicts', 'a minute', [verdict('retried'), verdict('late'), verdict('reused')]),
      plot('Latency, 99 %', 'ms', [latency('login'), latency('refresh'), latency('verify')]),
      plot('Passwords waiting for a hasher', '', [{ name: 'waiting', values: sums(({ hash_queue }) => hash_queue) }]),
      plot('Revocation lag', 'ms', [{ name: 'lag', values: sums(({ revocation_lag_ms }) => revocation_lag_ms) }]),
      plot('Failures of the service', 'a minute', [
        { name: 'answers of 500 and above', values: sums(({ errors }) => errors) }
      ])
    ),
    keys === null ? h('p', {}, 'The database does not respond, so the keys are unknown.') : keyTable(keys)
  )
}

const total = (results: Results): number => Object.values(results).reduce((sum, count) => sum + count, 0)

const figures = ({ version, host, started_at, workers, hashers, sessions, hash_queue, revocation_lag_ms }: Overview) =>
  list([
    ['Live sessions, about', sessions ?? badge('store down', 'bad')],
    ['Workers', workers],
    ['Hashers', hashers],
    ['Hash queue', `${hash_queue.waiting} of ${hash_queue.capacity}`],
    ['Revocation lag', `${revocation_lag_ms} ms`],
    ['Host', host],
    ['Version', version],
    ['Counting for', h('span', {}, duration(secondsSince(started_at)), ', since ', time(started_at))]
  ])

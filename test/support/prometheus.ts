/** A Prometheus that scrapes services of a test, with the alert rules that ship or faster ones. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { parse, stringify } from 'yaml'
import { findEngines, freePort, openEnclosure, untilReady, whyMissing } from './engines.ts'

export type Labels = Readonly<Record<string, string>>

/** One series of an answer: milliseconds since 1970, and the value at that time. */
export interface Series {
  readonly labels: Labels
  readonly points: readonly (readonly [at: number, value: number])[]
}

export interface Prometheus {
  /** The series of `expression` between two times in milliseconds since 1970, each `stepSeconds`. */
  range(expression: string, from: number, to: number, stepSeconds: number): Promise<readonly Series[]>
  /** The labels of the alerts that fire now; `alertname` is one of them. */
  firing(): Promise<readonly Labels[]>
}

export interface PrometheusOptions {
  /** Host and port of each service. */
  readonly targets: readonly string[]
  /** The METRICS_TOKEN of the services. */
  readonly token: string
  /** Between two scrapes, and between two evaluations of the rules, in seconds. */
  readonly interval: number
  /** How much shorter than in the shipped file all durations of the rules are. */
  readonly speed?: number
}

/** The interval of deploy/prometheus/prometheus.yml, in seconds. */
export const shippedInterval = 15

/** Starts one, ended with `t`. Throws when Prometheus is not installed. */
export async function startPrometheus(
  t: Pick<Test, 'teardown'>,
  { targets, token, interval, speed = 1 }: PrometheusOptions
): Promise<Prometheus> {
  const program = findEngines().prometheus?.prometheus
  if (program === undefined) throw new Error(whyMissing('prometheus'))
  const enclosure = await openEnclosure('prometheus', 'SIGKILL')
  t.teardown(() => enclosure.close())
  const write = (file: string, content: string): string => {
    writeFileSync(join(enclosure.directory, file), content)
    return join(enclosure.directory, file)
  }
  write('rules.yaml', fasterRules(speed))
  const every = `${interval * 1000}ms`
  const config = write(
    'prometheus.yaml',
    stringify({
      global: { scrape_interval: every, scrape_timeout: every, evaluation_interval: every },
      rule_files: ['rules.yaml'],
      scrape_configs: [
        { job_name: 'keyturn', authorization: { credentials: token }, static_configs: [{ targets: [...targets] }] }
      ]
    })
  )
  const url = `http://127.0.0.1:${await freePort()}`
  const child = enclosure.spawn(program, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(enclosure.directory, 'data')}`,
    `--web.listen-address=${url.slice('http://'.length)}`
  ])
  await untilReady(child, enclosure, () =>
    fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false
    )
  )
  return {
    async range(expression, from, to, stepSeconds) {
      const span = { start: String(from / 1000), end: String(to / 1000), step: String(stepSeconds) }
      const { result } = await ask<{ result: readonly RawSeries[] }>(url, 'query_range', { query: expression, ...span })
      return result.map(({ metric, values }) => ({
        labels: metric,
        points: values.map(([at, value]) => [at * 1000, Number(value)] as const)
      }))
    },
    async firing() {
      const { alerts } = await ask<{ alerts: readonly { labels: Labels; state: string }[] }>(url, 'alerts', {})
      return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels)
    }
  }
}

interface RawSeries {
  readonly metric: Labels
  readonly values: readonly (readonly [at: number, value: string])[]
}

async function ask<Data>(url: string, path: string, parameters: Record<string, string>): Promise<Data> {
  const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`)
  const { status, data, error } = (await answer.json()) as { status: string; data: Data; error?: string }
  if (status !== 'success') throw new Error(`${path} ${JSON.stringify(parameters)}: ${error}`)
  return data
}

const rulesFile = fileURLToPath(new URL('../../../deploy/prometheus/keyturn.rules.yaml', import.meta.url))

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly expr: string; readonly for?: string }[] }[]
}

/** The shipped rules, with all durations divided by `speed`: `for`, ranges and offsets. Thresholds are as they are. */
function fasterRules(speed: number): string {
  const faster = (duration: string): string => `${Math.round(millisecondsOf(duration) / speed)}ms`
  const { groups } = parse(readFileSync(rulesFile, 'utf8')) as Rules
  return stringify({
    groups: groups.map((group) => ({
      ...group,
      rules: group.rules.map((rule) => ({
        ...rule,
        expr: rule.expr.replace(/(\[|offset )(\d+[smhd])/g, (_, before, duration) => `${before}${faster(duration)}`),
        ...(rule.for === undefined ? {} : { for: faster(rule.for) })
      }))
    }))
  })
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const millisecondsOf = (duration: string): number =>
  Number.parseInt(duration, 10) * (units[duration.slice(-1)] ?? Number.NaN)

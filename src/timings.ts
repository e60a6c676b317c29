/*
 * Durations counted in fixed buckets, for Prometheus. Counting is an increment in a typed array: it happens in every request,
 * and a scrape only once in some seconds.
 */

/** Upper bounds in seconds. Source: OpenTelemetry semantic conventions for HTTP, http.server.request.duration. */
export const requestBounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** For what mostly takes less than a millisecond, up to the time-outs of the stores. In seconds. */
export const shortBounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

export interface TimingsOptions {
  readonly name: string
  readonly help: string
  /** Names of the labels, each with few possible values. */
  readonly labels: readonly string[]
  /** Upper bounds of the buckets in seconds, ascending. */
  readonly bounds: readonly number[]
}

/** The durations of one combination of labels. */
interface Series {
  readonly labels: Readonly<Record<string, string>>
  /** One for each bound, and one for what is above all of them. */
  readonly counts: Float64Array
  sum: number
}

/** One value of a histogram in a scrape. */
interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** A histogram with labels. */
export class Timings {
  readonly options: TimingsOptions
  readonly #series = new Map<string, Series>()

  constructor(options: TimingsOptions) {
    this.options = options
  }

  /** Counts a duration in seconds; `values` are those of the labels, in their order. */
  add(seconds: number, ...values: readonly string[]): void {
    const series = this.#find(values)
    const { bounds } = this.options
    let bucket = 0
    while (bucket < bounds.length && seconds > (bounds[bucket] as number)) bucket += 1
    series.counts[bucket] = (series.counts[bucket] as number) + 1
    series.sum += seconds
  }

  /** All that was counted since the start, as the metrics of prom-client are serialised. */
  read() {
    const { name, help } = this.options
    const values = [...this.#series.values()].flatMap((series) => this.#samples(series))
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }

  #find(values: readonly string[]): Series {
    const key = values.join('\n')
    const known = this.#series.get(key)
    if (known !== undefined) return known
    const { labels, bounds } = this.options
    const series = {
      labels: Object.fromEntries(labels.map((label, index) => [label, values[index] ?? ''])),
      counts: new Float64Array(bounds.length + 1),
      sum: 0
    }
    this.#series.set(key, series)
    return series
  }

  #samples({ labels, counts, sum }: Series): readonly Sample[] {
    const { name, bounds } = this.options
    let count = 0
    const buckets = [...bounds, '+Inf'].map((le, index) => {
      count += counts[index] as number
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: count }
    ]
  }
}

/*
 * Durations counted in fixed buckets, for Prometheus. Counting is an increment in a typed array, since it happens in every
 * request, and a scrape only every few seconds.
 */

/** Upper bounds in seconds. Source: OpenTelemetry semantic conventions for HTTP, http.server.request.duration. */
export const requestBounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** Bounds in seconds for durations that are mostly below a millisecond, up to the time-outs of the stores. */
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

/**
 * Series in nested maps, by the value of one label after the other: joining the values into one key would take longer than the
 * rest of counting a request.
 */
interface Place {
  series?: Series
  readonly next: Map<string, Place>
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
  readonly #series: Series[] = []
  readonly #root: Place = { next: new Map() }

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
    const values = this.#series.flatMap((series) => this.#samples(series))
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }

  #find(values: readonly string[]): Series {
    let place = this.#root
    for (const value of values) {
      let next = place.next.get(value)
      if (next === undefined) {
        next = { next: new Map() }
        place.next.set(value, next)
      }
      place = next
    }
    place.series ??= this.#begin(values)
    return place.series
  }

  #begin(values: readonly string[]): Series {
    const { labels, bounds } = this.options
    const series = {
      labels: Object.fromEntries(labels.map((label, index) => [label, values[index] ?? ''])),
      counts: new Float64Array(bounds.length + 1),
      sum: 0
    }
    this.#series.push(series)
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

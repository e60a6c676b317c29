import { type Content, h, svg } from './dom.ts'

export interface Line {
  readonly name: string
  /** One value a minute, at most 60; null where there is none. */
  readonly values: readonly (number | null)[]
}

const minutes = 60
const [width, height] = [300, 80]

/**
 * Lines over the last hour on one scale from zero. The caption has the newest and the highest values, for people who cannot see
 * the drawing.
 */
export function plot(title: string, unit: string, lines: readonly Line[]): HTMLElement {
  const highest = Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)))
  const scale = highest === 0 ? 1 : highest
  const drawing = svg(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...lines.flatMap(({ values }, index) =>
      segments(values, scale).map((points) => svg('polyline', { points, class: `line${index}` }))
    )
  )
  return h(
    'figure',
    {},
    h(
      'figcaption',
      {},
      h('h2', {}, title),
      lines.map((line, index) => legend(line, index, unit))
    ),
    drawing,
    h('p', { class: 'scale' }, `one hour, up to ${show(highest)}${unit && ` ${unit}`}`)
  )
}

function legend({ name, values }: Line, index: number, unit: string): Content {
  const newest = values.at(-1) ?? null
  const highest = Math.max(0, ...values.map((value) => value ?? 0))
  return h(
    'p',
    { class: `legend line${index}` },
    `${name}: ${newest === null ? 'none' : `${show(newest)}${unit && ` ${unit}`}`} now, at most ${show(highest)}`
  )
}

/** Points of each part of a line without gaps; the newest value is at the right edge. */
function segments(values: readonly (number | null)[], highest: number): readonly string[] {
  const parts: [x: number, y: number][][] = [[]]
  for (const [index, value] of values.entries()) {
    const x = ((minutes - values.length + index) * width) / (minutes - 1)
    if (value === null) parts.push([])
    else parts.at(-1)?.push([x, height - 2 - (value / highest) * (height - 4)])
  }
  return parts.flatMap((points) => {
    const [first] = points
    if (first === undefined) return []
    // A value between two gaps is a short dash.
    const drawn = points.length === 1 ? [[first[0] - 3, first[1]], first] : points
    return drawn.map((point) => point.map((each = 0) => each.toFixed(1)).join()).join(' ')
  })
}

const show = (value: number): string => (value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1))

/** The part of a Node request that has every field, as names and values in turn. */
interface Request {
  readonly rawHeaders: readonly string[]
}

/**
 * The values of all fields of a request with this name, which is in lower case. Of several fields `request.headers` keeps the first,
 * but a proxy that inspected the request may have used another one.
 */
export function valuesOf({ rawHeaders }: Request, name: string): readonly string[] {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const field = rawHeaders[at] ?? ''
    // The length is compared first, so that few names have to be converted.
    if (field.length === name.length && field.toLowerCase() === name) values.push(rawHeaders[at + 1] ?? '')
  }
  return values
}

/**
 * Whether Accept prefers this media type to JSON, which it also does if it names it and gives both the same weight (RFC 9110
 * §12.5.1). Parameters other than q are ignored.
 */
export function isPreferred(mediaType: string, accept: string | undefined): boolean {
  const ranges = parseAccept(accept ?? '')
  const wanted = weigh(mediaType, ranges)
  const json = weigh('application/json', ranges)
  return wanted.weight > 0 && (wanted.weight > json.weight || (wanted.weight === json.weight && wanted.isNamed))
}

interface MediaRange {
  /** In lower case, without parameters. */
  readonly range: string
  readonly weight: number
}

/** The ranges of Accept. Members that are none, or have a weight that is none, are ignored. */
function parseAccept(accept: string): readonly MediaRange[] {
  // Nothing in a quoted string separates.
  const members = accept.replace(/"(?:[^"\\]|\\.)*"/g, '').split(',')
  return members.flatMap((member) => {
    const [range = '', ...parameters] = member
      .toLowerCase()
      .split(';')
      .map((each) => each.trim())
    const [, weight = '1'] = parameters.map((each) => /^q=(.*)$/.exec(each)).find((each) => each !== null) ?? []
    return /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(weight) ? [{ range, weight: Number(weight) }] : []
  })
}

/** The weight of a media type by the most specific range that matches it, and whether that range is the type itself. */
function weigh(
  mediaType: string,
  ranges: readonly MediaRange[]
): { readonly weight: number; readonly isNamed: boolean } {
  for (const range of [mediaType, mediaType.replace(/\/.*/, '/*'), '*/*']) {
    const found = ranges.find((each) => each.range === range)
    if (found !== undefined) return { weight: found.weight, isNamed: range === mediaType }
  }
  return { weight: 0, isNamed: false }
}

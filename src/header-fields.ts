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

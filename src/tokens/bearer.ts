import { KeyturnError } from '../errors.ts'

/**
 * The token in an Authorization header whose type is one of `types`: case-sensitive, as in Simple JWT, or with `anyCase`
 * case-insensitive (RFC 9110 §11.1). Any number of spaces and tabs separates the two, as in Python's str.split. Throws
 * KeyturnError BEARER_MISSING without a header or with another type, BEARER_MALFORMED.
 */
export function readBearer(
  header: string | undefined,
  types: readonly string[],
  { anyCase }: { readonly anyCase: boolean }
): string {
  const [type, token, ...more] = (header ?? '').split(/[ \t]+/).filter((part) => part !== '')
  const isType = (each: string): boolean => each === type || (anyCase && each.toLowerCase() === type?.toLowerCase())
  if (!types.some(isType)) throw new KeyturnError('BEARER_MISSING')
  if (token === undefined || more.length > 0) throw new KeyturnError('BEARER_MALFORMED')
  return token
}

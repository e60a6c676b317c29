import { KeyturnError } from '../errors.ts'

/**
 * The token in the only one of the Authorization fields, whose type is one of `types`: case-sensitive, as in Simple JWT, or with
 * `anyCase` case-insensitive (RFC 9110 §11.1). Any number of spaces and tabs separates the two, as in Python's str.split. Throws
 * KeyturnError BEARER_MISSING without a field or with another type, BEARER_MALFORMED, also for several fields: WSGI servers join
 * them with commas, and Simple JWT then counts more than two parts.
 */
export function readBearer(
  [field = '', ...others]: readonly string[],
  types: readonly string[],
  { anyCase }: { readonly anyCase: boolean }
): string {
  if (others.length > 0) throw new KeyturnError('BEARER_MALFORMED', { detail: 'several Authorization fields' })
  const [type, token, ...more] = field.split(/[ \t]+/).filter((part) => part !== '')
  const isType = (each: string): boolean => each === type || (anyCase && each.toLowerCase() === type?.toLowerCase())
  if (!types.some(isType)) throw new KeyturnError('BEARER_MISSING')
  if (token === undefined || more.length > 0) throw new KeyturnError('BEARER_MALFORMED')
  return token
}

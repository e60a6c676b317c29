import { KeyturnError } from '../errors.ts'

/**
 * The tokens of a scope (RFC 6749 §3.3) without duplicates; empty for an empty text, undefined when one of them is
 * invalid. Valid ones are printable ASCII without spaces, quotes and backslashes, so they need no escaping in a header.
 */
export function parseScope(text: string): readonly string[] | undefined {
  const tokens = [...new Set(text.split(' ').filter((token) => token !== ''))]
  return tokens.every((token) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(token)) ? tokens : undefined
}

/** The same; throws KeyturnError FIELDS_INVALID naming `scope` when one of them is invalid. */
export function parseScopes(text: string): readonly string[] {
  const scopes = parseScope(text)
  if (scopes === undefined)
    throw new KeyturnError('FIELDS_INVALID', { fields: { scope: ['It must be scopes, separated by spaces.'] } })
  return scopes
}

import { isUtf8 } from 'node:buffer'

/*
 * The only accepted form of a token. Nothing in it is trusted yet; a key in its header (`jwk`, `jku`, `x5u`, `x5c`) is ignored.
 */

/** Maximum length of a token in characters; longer ones are refused without parsing. */
export const maxTokenLength = 4096

/** A parsed token. */
export interface Jws {
  /** The encoded header. */
  readonly head: string
  /** The payload, not parsed yet. */
  readonly payload: string
}

/** The part of a JWS header that matters for verification. */
export interface JwsHeader {
  readonly kid: string | undefined
}

/**
 * The three parts of a token in canonical base64url (RFC 7515 §2: no padding, no white space, and no stray bits at the end), the
 * payload in UTF-8. Returns a string with the reason, for the log, if the token is malformed.
 */
export function splitToken(token: string): Jws | string {
  if (token.length > maxTokenLength) return `longer than ${maxTokenLength} characters`
  const [head, body, signature, more] = token.split('.')
  if (head === undefined || body === undefined || signature === undefined || more !== undefined)
    return 'not three parts'
  const payload = decodeText(body)
  if (payload === undefined || decode(signature) === undefined) return 'no canonical base64url, or no UTF-8'
  return { head, payload }
}

/** Accepted media types, case-insensitive (RFC 7515 §4.1.9): another kind of JWT is not ours (RFC 8725 §3.11). */
const types = /^(?:application\/)?(?:at\+)?jwt$/i

/** Parses a header: a JSON object without duplicate names and without `crit`, since we support no extension. Returns a string with the reason if it is invalid. */
export function readHeader(head: string): JwsHeader | string {
  const json = decodeText(head)
  const header = json === undefined ? undefined : parseObject(json)
  if (json === undefined || header === undefined) return 'the header is not a JSON object in canonical base64url'
  if (namesTwice(json, header)) return 'the header names a member twice'
  if (header.crit !== undefined) return 'crit'
  if (header.kid !== undefined && typeof header.kid !== 'string') return 'kid is not a string'
  if (header.typ !== undefined && !(typeof header.typ === 'string' && types.test(header.typ)))
    return 'typ is not JWT or at+jwt'
  return { kid: header.kid }
}

/**
 * Whether any object in `json` has duplicate names, of which parsers choose different ones. `value` is the result of JSON.parse:
 * if it serialises to the same text, there are none. That is the case for nearly every token, and a search costs three times as
 * much.
 */
export const namesTwice = (json: string, value: object): boolean => JSON.stringify(value) !== json && findTwice(json)

/** The decoded bytes; undefined if the text is empty or not canonical. */
function decode(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return text !== '' && bytes.toString('base64url') === text ? bytes : undefined
}

/** Lenient decoding would turn every invalid byte into the same character, and two names into one. */
function decodeText(text: string): string | undefined {
  const bytes = decode(text)
  return bytes !== undefined && isUtf8(bytes) ? bytes.toString() : undefined
}

function parseObject(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(json)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g

function findTwice(json: string): boolean {
  const scopes: Set<string>[] = []
  for (const [text, isName] of json.matchAll(tokens)) {
    if (text === '{' || text === '[') scopes.push(new Set())
    else if (text === '}' || text === ']') scopes.pop()
    else if (isName !== undefined) {
      const name = JSON.parse(text.slice(0, -isName.length)) as string
      const scope = scopes.at(-1)
      if (scope?.has(name)) return true
      scope?.add(name)
    }
  }
  return false
}

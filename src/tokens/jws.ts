import { isUtf8 } from 'node:buffer'

/*
 * The one form in which a token is taken. Nothing in it is believed yet, and where its header offers a key (`jwk`, `jku`,
 * `x5u`, `x5c`), that is not even looked at.
 */

/** Longest token, in characters: anything longer is refused unread. */
export const longestToken = 4096

/** A token taken apart. */
export interface Jws {
  /** The header as it is spelled. */
  readonly head: string
  /** The payload, which ought to be JSON. */
  readonly payload: string
}

/** The part of a JWS header that says how it must be verified. */
export interface JwsHeader {
  readonly kid: string | undefined
}

/**
 * The parts of a token: three, of base64url in its canonical spelling (RFC 7515 §2: no padding, no blanks; no stray bits at an
 * end either), the payload in UTF-8. A string says what is wrong, for the log.
 */
export function splitToken(token: string): Jws | string {
  if (token.length > longestToken) return `longer than ${longestToken} characters`
  const [head, body, signature, more] = token.split('.')
  if (head === undefined || body === undefined || signature === undefined || more !== undefined)
    return 'not three parts'
  const payload = decodeText(body)
  if (payload === undefined || decode(signature) === undefined) return 'no canonical base64url, or no UTF-8'
  return { head, payload }
}

/** Media types of what we take, without regard to case (RFC 7515 §4.1.9): another kind of JWT is not ours (RFC 8725 §3.11). */
const types = /^(?:application\/)?(?:at\+)?jwt$/i

/** A header: a JSON object in which nothing is named twice, with no `crit` (we know no extension). A string says what is wrong. */
export function readHeader(head: string): JwsHeader | string {
  const json = decodeText(head)
  const header = json === undefined ? undefined : parseObject(json)
  if (json === undefined || header === undefined) return 'the header is no JSON object in canonical base64url'
  if (namesTwice(json, header)) return 'the header names a member twice'
  if (header.crit !== undefined) return 'crit'
  if (header.kid !== undefined && typeof header.kid !== 'string') return 'kid is no text'
  if (header.typ !== undefined && !(typeof header.typ === 'string' && types.test(header.typ)))
    return 'typ is not JWT or at+jwt'
  return { kid: header.kid }
}

/**
 * Whether an object anywhere in `json` names a member twice: parsers differ in which of the two they take. `value` is what
 * JSON.parse took; written again, it names each once. Nearly every token is written so, and the search costs three times as much.
 */
export const namesTwice = (json: string, value: object): boolean => JSON.stringify(value) !== json && findTwice(json)

/** Bytes, unless the text is empty or another spelling of them. */
function decode(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return text !== '' && bytes.toString('base64url') === text ? bytes : undefined
}

/** Decoded leniently, each byte that is no UTF-8 would become the same character, and two names one. */
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

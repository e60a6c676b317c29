import { invalid } from './errors.ts'

/** The contents of a token before anything in it is trusted. */
export interface ParsedToken {
  readonly algorithm: unknown
  readonly kid: string
  /** Header and payload as they were signed. */
  readonly signed: string
  readonly signature: Buffer
  readonly payload: Readonly<Record<string, unknown>>
}

/** Characters of the longest token that is read, as in Keyturn. */
const maxTokenLength = 4096

/** Media types of an access token (RFC 7515 §4.1.9, RFC 9068 §2.1): another kind of JWT is refused (RFC 8725 §3.11). */
const types = /^(?:application\/)?(?:at\+)?jwt$/i

/** Splits and decodes a JWS in compact form (RFC 7515 §7.1). Throws VerifierError `token_not_valid`. */
export function parseToken(token: string): ParsedToken {
  if (typeof token !== 'string' || token.length > maxTokenLength) throw invalid('not a text, or too long')
  const [head, body, tail, more] = token.split('.')
  if (head === undefined || body === undefined || tail === undefined || more !== undefined)
    throw invalid('not three parts')
  const { alg, kid, typ, crit } = decodeObject(head)
  if (typeof kid !== 'string') throw invalid('the header has no kid')
  if (typ !== undefined && !(typeof typ === 'string' && types.test(typ))) throw invalid('typ is not JWT or at+jwt')
  // RFC 7515 §4.1.11: an extension that is not understood makes the token invalid.
  if (crit !== undefined) throw invalid('the header has crit')
  return {
    algorithm: alg,
    kid,
    signed: token.slice(0, head.length + 1 + body.length),
    signature: decode(tail),
    payload: decodeObject(body)
  }
}

/** Bytes of base64url in its one canonical form (RFC 7515 §2: no padding; no stray bits at the end either). */
function decode(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  if (text === '' || bytes.toString('base64url') !== text) throw invalid('not base64url')
  return bytes
}

function decodeObject(text: string): Readonly<Record<string, unknown>> {
  const json = decode(text).toString()
  try {
    const value: unknown = JSON.parse(json)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {}
  throw invalid('not a JSON object')
}

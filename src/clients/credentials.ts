import { KeyturnError } from '../errors.ts'
import type { ClientCredentials } from './client.ts'

/** The form parameters by which a client authenticates. */
export interface ClientParameters {
  readonly client_id?: string
  readonly client_secret?: string
}

/**
 * The credentials of a request, from HTTP Basic in its Authorization fields or from its body (RFC 6749 §2.3.1), in each possible
 * decoding, the likeliest first. Throws KeyturnError CLIENT_INVALID if there are none, OAUTH_REQUEST if there are several.
 */
export function readCredentials(
  [authorization = '', ...others]: readonly string[],
  { client_id: id, client_secret: secret }: ClientParameters
): readonly [ClientCredentials, ...ClientCredentials[]] {
  if (others.length > 0) throw new KeyturnError('OAUTH_REQUEST', { detail: 'Duplicate Authorization field.' })
  const [, encoded] = /^basic +(\S+) *$/i.exec(authorization) ?? []
  if (encoded === undefined) {
    if (id === undefined || secret === undefined) throw new KeyturnError('CLIENT_INVALID')
    return [{ id, secret }]
  }
  if (secret !== undefined)
    throw new KeyturnError('OAUTH_REQUEST', {
      detail: 'Use either the Authorization header or client_secret, not both.'
    })
  const basic = readBasic(encoded)
  if (id !== undefined && id !== basic[0].id)
    throw new KeyturnError('OAUTH_REQUEST', { detail: 'client_id does not match the Authorization header.' })
  return basic
}

/**
 * RFC 6749 §2.3.1 form-encodes both parts before joining them. Libraries do that and curl does not, so the undecoded parts
 * are tried too if they differ.
 */
function readBasic(encoded: string): readonly [ClientCredentials, ...ClientCredentials[]] {
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon < 0) throw new KeyturnError('CLIENT_INVALID')
  const raw = { id: text.slice(0, colon), secret: text.slice(colon + 1) }
  if (!/[%+]/.test(text)) return [raw]
  const [id, secret] = [decodePart(raw.id), decodePart(raw.secret)]
  if (id === undefined || secret === undefined || (id === raw.id && secret === raw.secret)) return [raw]
  return [{ id, secret }, raw]
}

/** Decodes form-encoded text; undefined when it is malformed. */
function decodePart(part: string): string | undefined {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

import { KeyturnError } from '../errors.ts'
import type { ClientCredentials } from './client.ts'

/** The parameters of a form by which a client says who it is. */
export interface ClientParameters {
  readonly client_id?: string
  readonly client_secret?: string
}

/**
 * What a request says of its client, by HTTP Basic or in its body (RFC 6749 §2.3.1), in each way it can be read, the
 * likeliest first. Throws KeyturnError CLIENT_INVALID when it says nothing, OAUTH_REQUEST when it says two things.
 */
export function readCredentials(
  authorization: string | undefined,
  { client_id: id, client_secret: secret }: ClientParameters
): readonly [ClientCredentials, ...ClientCredentials[]] {
  const [, encoded] = /^basic +(\S+) *$/i.exec(authorization ?? '') ?? []
  if (encoded === undefined) {
    if (id === undefined || secret === undefined) throw new KeyturnError('CLIENT_INVALID')
    return [{ id, secret }]
  }
  if (secret !== undefined)
    throw new KeyturnError('OAUTH_REQUEST', { detail: 'A client authenticates in one way, not in two.' })
  const basic = readBasic(encoded)
  if (id !== undefined && id !== basic[0].id)
    throw new KeyturnError('OAUTH_REQUEST', { detail: 'client_id is another one than that of Authorization.' })
  return basic
}

/**
 * Both parts are form-encoded before they are joined. Libraries do that and curl does not, so the parts as they are
 * count too where they differ.
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

/** A form-encoded text decoded; undefined when it is none. */
function decodePart(part: string): string | undefined {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

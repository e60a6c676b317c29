import { createHash } from 'node:crypto'
import { equalInConstantTime } from '../random.ts'

/**
 * Another service: it may ask about tokens, and get tokens of its own (RFC 6749 §2). Times are whole seconds since
 * 1970.
 */
export interface Client {
  /** Its name, and its `client_id`. */
  readonly id: string
  /** What hashSecret makes of its secret. */
  readonly secretHash: string
  /** The secret before that, and until when it is good too. */
  readonly previous: { readonly secretHash: string; readonly until: number } | undefined
  /** What it may ask for, for tokens of its own. */
  readonly scopes: readonly string[]
  readonly createdAt: number
  /** When it was given its secret. */
  readonly rotatedAt: number
}

/** What a client proves itself with. */
export interface ClientCredentials {
  readonly id: string
  readonly secret: string
}

/** Clients there may be: each process holds them all (directory.ts). */
export const mostClients = 1000

/** What user tokens say as `client_id` under RFC 9068: no client made them. */
export const ownClientId = 'keyturn'

/**
 * Why a text cannot be a client's id; undefined when it can. It is the `sub` of the client's own tokens, and must not
 * pass for a user there (RFC 9700 §4.15): the ids of users are UUIDs, or numbers where they are Django's. Where they are
 * usernames (USER_ID_FIELD) an operator has to see to it, and Keyturn itself goes by `client_id` (src/tokens/claims.ts).
 */
export function clientIdFault(id: string): string | undefined {
  if (!/^[a-z][a-z0-9._-]{0,62}$/.test(id))
    return 'It must begin with a small letter, followed by at most 62 small letters, digits, dots, hyphens and underscores.'
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return 'It must not look like the id of a user.'
  if (id === ownClientId) return `It must not be ${ownClientId}: that is what tokens of users say.`
  return undefined
}

/**
 * A secret at rest. Not a slow hash: a secret that we made has 256 random bits, which nobody guesses however fast the
 * hash, and a slow one would cost 30 ms a request. Of a secret that was given nobody knows it: what is short, or
 * plainly not random, is refused (secretFault), since the hash of a leaked table would be guessed. The id is hashed
 * with the secret: a hash moved to another row is good for nothing.
 */
export const hashSecret = ({ id, secret }: ClientCredentials): string =>
  createHash('sha256').update(`${id}:${secret}`).digest('base64url')

/** Why a given secret cannot be one; undefined when it can. */
export function secretFault(secret: string): string | undefined {
  // RFC 6749 appendix A.2.
  if (!/^[\x21-\x7e]*$/.test(secret)) return 'The secret must be printable ASCII without blanks.'
  if (secret.length < 32 || new Set(secret).size < 8)
    return 'The secret is easily guessed: at least 32 random characters are wanted (openssl rand -base64 32 makes them).'
  if (secret.length > 256) return 'The secret is too long: at most 256 characters are read.'
  return undefined
}

/** As long as a hash, and none: whoever is unknown is compared with it. */
const nobody = '='.repeat(43)

/**
 * Whether the credentials are those of `client`, after the same work whatever is wrong with them; never when there is
 * no client.
 */
export function isProvenBy(client: Client | undefined, credentials: ClientCredentials, now: number): boolean {
  const presented = hashSecret(credentials)
  const previous = client?.previous !== undefined && now < client.previous.until ? client.previous.secretHash : nobody
  const isCurrent = equalInConstantTime(presented, client?.secretHash ?? nobody)
  const isPrevious = equalInConstantTime(presented, previous)
  return client !== undefined && (isCurrent || isPrevious)
}

import { createHash } from 'node:crypto'
import { equalInConstantTime } from '../random.ts'
import { showTime } from '../time.ts'

/**
 * A service that may introspect tokens and get its own access tokens (RFC 6749 §2). Times are whole seconds since 1970.
 */
export interface Client {
  /** Its name, and its `client_id`. */
  readonly id: string
  /** The result of hashSecret. */
  readonly secretHash: string
  /** The former secret, and until when it stays valid. */
  readonly previous: { readonly secretHash: string; readonly until: number } | undefined
  /** The scopes that its own tokens may have. */
  readonly scopes: readonly string[]
  readonly createdAt: number
  /** When its current secret was set. */
  readonly rotatedAt: number
}

/**
 * The earliest `iat` of the client's own tokens: the second after its creation. `iat` is whole seconds, so that a token of the second
 * of the creation may be that of a deleted client with the same id.
 */
export const firstIssuedAt = ({ createdAt }: Pick<Client, 'createdAt'>): number => createdAt + 1

/** Whether a token with this `iat` was issued to this client, and not to a deleted one with the same id; false without either. */
export const isTokenOf = (client: Client | undefined, iat: number | undefined): client is Client =>
  client !== undefined && iat !== undefined && iat >= firstIssuedAt(client)

/** A client with its names and times on the wire and in the output of commands; never its secret. */
export const showClient = ({ id, scopes, createdAt, rotatedAt }: Client) => ({
  client_id: id,
  scope: scopes.join(' '),
  created_at: showTime(createdAt),
  secret_created_at: showTime(rotatedAt)
})

/** What a client authenticates with. */
export interface ClientCredentials {
  readonly id: string
  readonly secret: string
}

/** Bounded because each process holds all clients in memory (directory.ts). */
export const maxClients = 1000

/** The `client_id` of user tokens under RFC 9068; no client may have it. */
export const ownClientId = 'keyturn'

/**
 * Why a text cannot be a client's id; undefined if it can. It is the `sub` of the client's own tokens, where it must not
 * look like a user (RFC 9700 §4.15): user ids are UUIDs, or numbers if they are Django's. If they are names (USER_ID_FIELD,
 * or imported), the operator has to prevent collisions; Keyturn itself relies on `client_id` (src/tokens/claims.ts).
 */
export function clientIdFault(id: string): string | undefined {
  if (!/^[a-z][a-z0-9._-]{0,62}$/.test(id))
    return 'It must begin with a lower-case letter, followed by at most 62 lower-case letters, digits, dots, hyphens and underscores.'
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return 'It must not look like the id of a user.'
  if (id === ownClientId) return `It must not be ${ownClientId}: tokens of users have this client_id.`
  return undefined
}

/**
 * The stored form of a secret. A fast hash, since a generated secret has 256 random bits, which cannot be guessed, and a
 * slow hash would cost 30 ms per request. A given secret may be weaker, so secretFault refuses those that are short or
 * clearly not random. The id is hashed too, so that a hash copied to another row does not match.
 */
export const hashSecret = ({ id, secret }: ClientCredentials): string =>
  createHash('sha256').update(`${id}:${secret}`).digest('base64url')

/** Why a given secret is refused; undefined if it is not. */
export function secretFault(secret: string): string | undefined {
  // RFC 6749 appendix A.2.
  if (!/^[\x21-\x7e]*$/.test(secret)) return 'The secret must be printable ASCII without spaces.'
  if (secret.length < 32 || new Set(secret).size < 8)
    return 'The secret is easily guessed: expected at least 32 random characters, as from openssl rand -base64 32.'
  if (secret.length > 256) return 'The secret is too long: at most 256 characters are allowed.'
  return undefined
}

/** Has the length of a hash and matches none: the secret of an unknown client is compared with it. */
const dummyHash = '='.repeat(43)

/**
 * Whether the credentials are those of `client`; false without a client. The work is the same in every case.
 */
export function isProvenBy(client: Client | undefined, credentials: ClientCredentials, now: number): boolean {
  const presented = hashSecret(credentials)
  const previous =
    client?.previous !== undefined && now < client.previous.until ? client.previous.secretHash : dummyHash
  const isCurrent = equalInConstantTime(presented, client?.secretHash ?? dummyHash)
  const isPrevious = equalInConstantTime(presented, previous)
  return client !== undefined && (isCurrent || isPrevious)
}

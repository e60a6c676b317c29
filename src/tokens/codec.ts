/** The two kinds of key: `access` keys may be checked by anyone, `refresh` keys by Keyturn alone (unless SIGNING_KEY is shared). */
export type KeyUse = 'access' | 'refresh'

/** What a token carries before anything of it is believed but its signature. */
export type Payload = Readonly<Record<string, unknown>>

/** Turns claims into signed tokens and back. */
export interface TokenCodec {
  /** A JWS in compact form (RFC 7515 §7.1) under the key in force for `use`. HMAC tokens of equal claims are equal texts. */
  sign(use: KeyUse, claims: object): string
  /** The payload of a token whose signature one of our keys made. Throws KeyturnError TOKEN_INVALID. Claims are not looked at. */
  read(token: string): Payload
}

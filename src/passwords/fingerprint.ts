import { createHash } from 'node:crypto'

/**
 * What a token may tell of a password: the MD5 of the stored digest, in capital hex, as Simple JWT's get_md5_hash_password has
 * it. MD5 does here, since the digest is salted and costly: it is only ever compared, and leads back to nothing.
 */
export const passwordFingerprint = (digest: string): string =>
  createHash('md5').update(digest).digest('hex').toUpperCase()

import { createHash } from 'node:crypto'

/**
 * The hash of a password in tokens: the MD5 of the stored digest in upper-case hex, as in Simple JWT's get_md5_hash_password. MD5
 * suffices, since it is only compared, and the digest is salted and costly.
 */
export const passwordFingerprint = (digest: string): string =>
  createHash('md5').update(digest).digest('hex').toUpperCase()

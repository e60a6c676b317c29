/** A parsed digest: the hash to compare with, and how to compute the hash of another password. */
export interface StoredDigest {
  /** The hash, as encoded in the digest. */
  readonly hash: string
  /** The hash of `password` with the same salt, costs and encoding. */
  compute(password: string): Promise<string>
  /** A random digest of exactly the same cost. */
  readonly decoy: string
  /** Whether it has no cost factor: an attacker who has the digest can try millions of passwords per second. */
  readonly isFast: boolean
}

/**
 * Reads one form of digest; undefined for any other, and for costs that are invalid or too high: a digest in the database must
 * not be able to block the machine.
 */
export type ReadDigest = (digest: string) => StoredDigest | undefined

/** Writes new digests. */
export interface Writer {
  /** A new digest with a random salt. */
  hash(password: string): Promise<string>
  /** Whether `digest`, which has just been verified, may stay as it is. */
  keeps(digest: string): boolean
  /** A random digest of the same cost as a new one. */
  readonly decoy: string
}

/** A salt or hash of the same length that belongs to no user; keeps the padding of base64. */
export const decoyPart = (text: string): string => text.replace(/[^=]/g, 'a')

/** A stored digest, taken apart: what to compare with, and how to come by the same of another password. */
export interface StoredDigest {
  /** The hash in it, as it is written there. */
  readonly hash: string
  /** What `password` gives with the same salt and costs, written the same way. */
  compute(password: string): Promise<string>
  /** A random digest of the same cost: computing it takes exactly as long. */
  readonly decoy: string
  /** Whether it has no cost factor: an attacker who has it can try millions of passwords a second. */
  readonly isFast: boolean
}

/**
 * Reads one form of digest; undefined for any other, and for costs that are invalid or too high: a digest in the
 * database must not be able to occupy the machine.
 */
export type ReadDigest = (digest: string) => StoredDigest | undefined

/** How passwords are written from now on. */
export interface Writer {
  /** A new digest, with a salt of its own. */
  hash(password: string): Promise<string>
  /** Whether `digest`, which has just been verified, may stay as it is. */
  keeps(digest: string): boolean
  /** A random digest of the same cost as a new one. */
  readonly decoy: string
}

/** A salt or hash of the same length, not of any user; the padding of base64 stays. */
export const blank = (text: string): string => text.replace(/[^=]/g, 'a')

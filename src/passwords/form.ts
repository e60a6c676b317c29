/** A stored digest, taken apart: what to compare with, and how to come by the same of another password. */
export interface StoredDigest {
  /** The hash in it, as it is written there. */
  readonly hash: string
  /** What `password` gives with the same salt and costs, written the same way. */
  compute(password: string): Promise<string>
  /** Nobody's digest of the same costs: to compute it is exactly the work of this one. */
  readonly decoy: string
  /** Whether it is made without a cost, so that whoever has it can guess millions of passwords a second. */
  readonly isFast: boolean
}

/**
 * Reads one form of digest; undefined for any other, and for costs that cannot be or that nobody should pay: a digest in the
 * database must not be able to occupy the machine.
 */
export type ReadDigest = (digest: string) => StoredDigest | undefined

/** How passwords are written from now on. */
export interface Writer {
  /** A new digest, with a salt of its own. */
  hash(password: string): Promise<string>
  /** Whether `digest`, which has just been verified, may stay as it is. */
  keeps(digest: string): boolean
  /** Nobody's digest, as costly as a new one. */
  readonly decoy: string
}

/** A salt or hash of the same length that is nobody's; the padding of base64 stays. */
export const blank = (text: string): string => text.replace(/[^=]/g, 'a')
